/** @module One valid message of every kind, as it travels: what test/vectors/messages is made of. */
const id = "A".repeat(22);
const key = "0123456789abcdef".repeat(2);
const hash = "ab".repeat(32);
const time = "2026-01-02T03:04:05.678Z";
const number = "AQAB";
const chain = { n: 7, prev: hash };
const byNode = { version: 1, key, node: "n1", party: 1, proposal: hash, time, ...chain };
const byClient = { version: 1, key, client: "alice", proposal: hash, time };
const ofClient = { version: 2, client: "alice", session: id, time, ...chain };

export interface Example {
  readonly subject: string;
  readonly body: Readonly<Record<string, unknown>>;
}

const keySubject = `thsm.v1.key.${key}`;
const objectSubject = `thsm.v1.key.object.alice.zones.${key}`;
const ofObject = { version: 1, object: key, client: "alice", token: "zones", time };
const clientAudit = `thsm.v1.audit.client.alice.${id}`;

export const examples: Readonly<Record<string, Example>> = {
  request: {
    subject: `thsm.v1.req.alice.${id}.${id}`,
    body: {
      version: 1,
      kind: "sign",
      client: "alice",
      session: id,
      seq: 1,
      rid: id,
      key,
      epoch: 0,
      algorithm: "rsa",
      scheme: "shoup",
      parties: [1, 3],
      encoding: "pss",
      hash: "sha256",
      inputs: ["00ff"],
      salts: ["aa"],
      expires: time,
      attempt: 2,
      of: id,
    },
  },
  shares: {
    subject: `thsm.v1.share.n1.alice.${id}.${id}`,
    body: {
      version: 1,
      kind: "shares",
      node: "n1",
      party: 1,
      client: "alice",
      session: id,
      rid: id,
      key,
      epoch: 0,
      shares: [number],
      proofs: [number],
      request: hash,
      reqSeq: 3,
      time,
      ...chain,
    },
  },
  refusal: {
    subject: `thsm.v1.share.n1.alice.${id}.${id}`,
    body: {
      version: 1,
      kind: "refusal",
      node: "n1",
      party: 1,
      client: "alice",
      session: id,
      rid: id,
      key,
      epoch: 0,
      code: "ERR_EXPIRED",
      reason: "too late",
      request: hash,
      reqSeq: 3,
      time,
      ...chain,
    },
  },
  proposed: {
    subject: keySubject,
    body: {
      version: 1,
      type: "proposed",
      key,
      epoch: 0,
      client: "alice",
      token: "zones",
      label: "zsk",
      id: "01",
      algorithm: "rsa",
      scheme: "shoup",
      modulus: number,
      publicExponent: number,
      threshold: 2,
      parties: ["n1", "n2", "n3"],
      minimum: 3,
      verificationBase: number,
      verificationKeys: [number, number, number],
      encodings: ["pkcs1v15"],
      hashes: ["sha256"],
      maxInputs: 64,
      proofs: "on-failure",
      time,
    },
  },
  ready: { subject: keySubject, body: { ...byNode, type: "ready", sealingKey: "A".repeat(43) } },
  accepted: { subject: keySubject, body: { ...byNode, type: "accepted" } },
  rejected: {
    subject: keySubject,
    body: { ...byNode, type: "rejected", code: "ERR_INTERNAL", reason: "no room" },
  },
  erased: { subject: keySubject, body: { ...byNode, type: "erased" } },
  activated: {
    subject: keySubject,
    body: { ...byClient, type: "activated", accepted: [1, 2, 3], session: id, rid: id },
  },
  abandoned: { subject: keySubject, body: { ...byClient, type: "abandoned", reason: "silence" } },
  destroyed: { subject: keySubject, body: { ...byClient, type: "destroyed", reason: "rolled" } },
  relabelled: {
    subject: keySubject,
    body: { ...byClient, type: "relabelled", label: "other", id: "0a0b" },
  },
  "object-stored": {
    subject: objectSubject,
    body: {
      ...ofObject,
      type: "object-stored",
      class: "certificate",
      label: "www",
      id: "0a0b",
      value: "AAAA",
      subject: "AAAA",
      issuer: "AAAA",
      serialNumber: "AAAA",
      application: "AAAA",
      objectId: "AAAA",
    },
  },
  "object-relabelled": {
    subject: objectSubject,
    body: { ...ofObject, type: "object-relabelled", label: "other", id: "0c" },
  },
  "object-removed": { subject: objectSubject, body: { ...ofObject, type: "object-removed" } },
  deal: {
    subject: `thsm.v1.deal.n1.${key}`,
    body: {
      version: 1,
      key,
      epoch: 0,
      client: "alice",
      node: "n1",
      party: 1,
      proposal: hash,
      sealingKey: "A".repeat(43),
      enc: "A".repeat(43),
      ciphertext: "AAAA",
    },
  },
  beat: {
    subject: "thsm.v1.beat.n1",
    body: {
      version: 1,
      node: "n1",
      boot: id,
      beat: 1,
      queued: 0,
      activeKeys: 2,
      software: "0.1.0",
      signed: 12,
      time,
    },
  },
  "session-opened": {
    subject: clientAudit,
    body: { ...ofClient, type: "session-opened", token: "zones", application: "knotd 1" },
  },
  "session-closed": {
    subject: clientAudit,
    body: { ...ofClient, type: "session-closed", requests: 3 },
  },
  result: {
    subject: clientAudit,
    body: {
      ...ofClient,
      type: "result",
      rid: id,
      key,
      epoch: 0,
      quorum: [1, 3],
      signatures: [number],
      culprits: ["n2"],
      suspects: ["n4"],
      evidence: [hash],
      elapsedMs: 12,
    },
  },
  failure: {
    subject: clientAudit,
    body: { ...ofClient, type: "failure", rid: id, key, code: "ERR_DEADLINE", reason: "late" },
  },
  "node-started": {
    subject: "thsm.v1.audit.node.n1",
    body: { version: 1, type: "node-started", node: "n1", boot: id, time, ...chain },
  },
  checkpoint: {
    subject: "thsm.v1.audit.node.n1.checkpoint",
    body: {
      version: 1,
      type: "checkpoint",
      node: "n1",
      size: 1,
      note: `test/THSM_REQ\n1\n${"A".repeat(43)}=\n\n\u2014 test/n1 ${"A".repeat(91)}=\n`,
      time,
      ...chain,
    },
  },
  inconsistent: {
    subject: "thsm.v1.audit.node.n1",
    body: {
      version: 1,
      type: "inconsistent",
      node: "n1",
      seq: 7,
      reason: "another entry 7 than before",
      time,
      ...chain,
    },
  },
  ignored: {
    subject: "thsm.v1.audit.node.n1",
    body: {
      version: 1,
      type: "ignored",
      node: "n1",
      counts: ["ERR_INVALID_MESSAGE 3"],
      time,
      ...chain,
    },
  },
  misbehaviour: {
    subject: "thsm.v1.audit.blame.alice.n2",
    body: {
      version: 1,
      type: "misbehaviour",
      client: "alice",
      node: "n2",
      verdict: "culprit",
      code: "wrong-share",
      text: "node n2 gave two different shares of the same inputs",
      party: 2,
      key,
      rid: id,
      evidence: [hash],
      messages: [{ stream: "THSM_SHARE", subject: "s", payload: "{}", signature: "ed25519" }],
      time,
    },
  },
  "node-cleared": {
    subject: "thsm.v1.audit.operator.op.n2",
    body: {
      version: 1,
      type: "node-cleared",
      operator: "op",
      node: "n2",
      reason: "new disk",
      time,
    },
  },
  rotated: {
    subject: "thsm.v1.audit.operator.op",
    body: {
      version: 1,
      type: "rotated",
      operator: "op",
      letGo: ["THSM_REQ 1200 2000", "THSM_SHARE 3600 6000"],
      manifest: hash,
      time,
    },
  },
};
