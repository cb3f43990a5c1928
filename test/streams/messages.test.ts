import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import * as fc from "fast-check";
import { headers } from "nats";
import { HsmError } from "../../src/errors.js";
import { Cluster } from "../../src/identity/cluster.js";
import { IdentityKey } from "../../src/identity/identity-key.js";
import {
  assembleMessage,
  signatureOf,
  signMessage,
  verifyMessage,
  type SignedMessage,
} from "../../src/streams/envelope.js";
import {
  readAuditEvent,
  readHeartbeat,
  readKeyEvent,
  readObjectEvent,
  readRequest,
  readSealedShare,
  readShare,
  verifySender,
} from "../../src/streams/open.js";
import { formatSubject, parseSubject, type Subject } from "../../src/streams/subjects.js";
import { parseJson } from "../../src/validate.js";
import { failure } from "../support/errors.js";
import { examples, type Example } from "./examples.js";

const numRuns = process.env["SLOW"] === "1" ? 500 : 20;
const vectors = new URL("../../../test/vectors/messages/", import.meta.url);

function read(message: SignedMessage): unknown {
  switch (parseSubject(message.subject).kind) {
    case "request":
      return readRequest(message);
    case "share":
      return readShare(message);
    case "key":
      return readKeyEvent(message);
    case "object":
      return readObjectEvent(message);
    case "deal":
      return readSealedShare(message);
    case "beat":
      return readHeartbeat(message);
    case "client-audit":
    case "node-audit":
    case "node-checkpoint":
    case "operator-audit":
    case "blame":
    case "clear":
      return readAuditEvent(message);
  }
}
const raw = (subject: string, text: string | Uint8Array): SignedMessage => ({
  stream: "THSM_KEY",
  subject,
  payload: Buffer.from(text),
  signature: "",
  hash: "",
});
const readBody = ({ subject }: Example, body: object): unknown =>
  read(raw(subject, JSON.stringify(body)));

/** Whatever is put in the place of a field that is a number, a text, a list … */
const hostile = [
  null,
  true,
  {},
  [],
  [[]],
  "",
  " ",
  "\n",
  "../..",
  "x".repeat(70_000),
  -1,
  1.5,
  1e300,
  [null],
  [{}],
  ["A B"],
  Array.from({ length: 70 }, () => "AQAB"),
  { length: 1 },
  "9999-99-99T99:99:99.999Z",
  "2026-02-30T00:00:00.000Z",
];
/** Texts for people, where anything short goes. */
const free = new Set(["label", "reason", "application", "text", "note"]);
const attributes = ["subject", "issuer", "serialNumber", "application", "objectId"];
const absent: Readonly<Record<string, readonly string[]>> = {
  beat: ["software", "signed"],
  misbehaviour: ["party", "key", "rid", "messages"],
  relabelled: ["label", "id"],
  "object-stored": attributes,
  "object-relabelled": ["label", "id"],
};
const empty: Readonly<Record<string, readonly string[]>> = {
  "object-stored": ["id", "value", ...attributes],
  "object-relabelled": ["id"],
};

describe("messages", () => {
  for (const [name, example] of Object.entries(examples)) {
    describe(name, () => {
      it("is read as the snapshot has it", () => {
        const file = new URL(`${name}.json`, vectors);
        if (process.env["UPDATE_VECTORS"] === "1") {
          mkdirSync(vectors, { recursive: true });
          writeFileSync(file, `${JSON.stringify(example, null, 2)}\n`);
        }
        const recorded = JSON.parse(readFileSync(file, "utf8")) as Example;
        expect(recorded).to.deep.equal(example);
        expect({ ...(readBody(recorded, recorded.body) as object) }).to.deep.include(recorded.body);
      });

      it("is refused with any field of another kind, missing or added", async () => {
        const refused = (body: object): Promise<HsmError> =>
          failure(() => readBody(example, body), "ERR_INVALID_MESSAGE");
        const blame = ["culprits", "suspects", "evidence"];
        const optional = ["salts", "hash", "of", "proofs", "code", ...blame];
        for (const field of Object.keys(example.body)) {
          const { [field]: _, ...rest } = example.body;
          const mayLack =
            absent[name]?.includes(field) === true ||
            [...optional, "reason", "maxInputs", "version", "type"].includes(field);
          if (!mayLack) await refused(rest);
          for (const value of hostile) {
            if (free.has(field) && typeof value === "string" && value.length < 200) continue;
            if (value === "" && empty[name]?.includes(field) === true) continue;
            await refused({ ...example.body, [field]: value });
          }
        }
        for (const field of ["extra", "hasOwnProperty", "constructor"]) {
          await refused({ ...example.body, [field]: 1 });
        }
        const text = JSON.stringify(example.body).replace("{", `{"__proto__":{"a":1},`);
        await failure(() => read(raw(example.subject, text)), "ERR_INVALID_MESSAGE");
      });

      it("is refused on a subject that says otherwise", async () => {
        const tokens = example.subject.split(".");
        for (let i = 3; i < tokens.length; i++) {
          if (["client", "node"].includes(tokens[i] ?? "")) continue;
          const subject = tokens.with(i, "other").join(".");
          await failure(
            () => readBody({ ...example, subject }, example.body),
            "ERR_INVALID_MESSAGE",
          );
        }
      });
    });
  }

  it("are strict UTF-8 and JSON objects, or refused", () => {
    for (const bytes of [
      Uint8Array.of(0xff),
      Buffer.from('{"a":"\xc3"}', "latin1"),
      Buffer.from("\ufeff{}"),
      Buffer.from("{"),
      Buffer.from(""),
      Buffer.from("[".repeat(100_000)),
    ]) {
      expect(() => parseJson(bytes))
        .to.throw(HsmError)
        .with.property("code", "ERR_INVALID_MESSAGE");
    }
  });

  it("of any content whatever throw nothing but HsmError", () => {
    const subjects = Object.values(examples).map(({ subject }) => subject);
    fc.assert(
      fc.property(fc.constantFrom(...subjects), fc.json(), (subject, text) => {
        try {
          read(raw(subject, text));
        } catch (error) {
          expect(error).to.be.instanceOf(HsmError);
        }
      }),
      { numRuns: 10 * numRuns },
    );
  });

  it("of a later version's type are skipped", () => {
    const { subject } = examples["ready"] ?? { subject: "" };
    expect(read(raw(subject, '{"type":"reshared"}'))).to.equal(undefined);
  });
});

describe("subjects", () => {
  const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
  const subjects: fc.Arbitrary<Subject> = fc.oneof(
    fc.record({ kind: fc.constant("request" as const), client: token, session: token, rid: token }),
    fc.record({
      kind: fc.constant("share" as const),
      node: token,
      client: token,
      session: token,
      rid: token,
    }),
    fc.record({ kind: fc.constant("client-audit" as const), client: token, session: token }),
    fc.record({ kind: fc.constant("node-audit" as const), node: token }),
    fc.record({ kind: fc.constant("node-checkpoint" as const), node: token }),
    fc.record({ kind: fc.constant("operator-audit" as const), operator: token }),
    fc.record({ kind: fc.constant("key" as const), key: token }),
    fc.record({ kind: fc.constant("deal" as const), node: token, key: token }),
    fc.record({ kind: fc.constant("beat" as const), node: token }),
  );

  it("are what was formatted", () => {
    fc.assert(
      fc.property(subjects, (subject) => {
        expect({ ...parseSubject(formatSubject(subject)) }).to.deep.equal({ ...subject });
      }),
      { numRuns },
    );
  });

  it("of no known form are refused", async () => {
    for (const text of [
      "",
      "thsm.v1",
      "thsm.v1.req",
      "thsm.v2.key.a",
      "thsm.v1.key.",
      "thsm.v1.key.*",
      "thsm.v1.key.>",
      "thsm.v1.key.a b",
      "thsm.v1.key.a\0",
      "thsm.v1.key.a\n",
      "thsm.v1.key.a.b",
      "thsm.v1.key.ä",
      `thsm.v1.key.${"a".repeat(65)}`,
      "thsm.v1.audit.nobody.x",
      "thsm.v1.stored.key.a",
    ]) {
      await failure(() => parseSubject(text), "ERR_INVALID_MESSAGE");
    }
  });
});

describe("the envelope", () => {
  const keys = ["alice", "n1"].map((_, i) => new IdentityKey(new Uint8Array(32).fill(i + 1)));
  const entry = (name: string, i: number): object => ({
    name,
    identity: keys[i]?.publicKey.text,
    login: `U${"A".repeat(54)}${"AB"[i]}`,
  });
  const { publicKey } = new IdentityKey(new Uint8Array(32).fill(9));
  const other = { name: "n2", identity: publicKey.text, login: `U${"B".repeat(55)}` };
  const cluster = new Cluster(
    {
      version: 1,
      name: "c",
      servers: ["nats://127.0.0.1:4222"],
      node: [entry("n1", 1), other],
      client: [entry("alice", 0)],
      token: [{ name: "zones", clients: ["alice"] }],
    },
    "/",
  );
  const [alice = new IdentityKey(new Uint8Array(32)), n1 = alice] = keys;
  const message = signMessage(alice, "THSM_REQ", "thsm.v1.req.alice.s.r", { a: 1 });

  it("names its signer", () => {
    expect(verifyMessage(cluster, message).name).to.equal("alice");
    const { stream, subject, payload, signature } = message;
    expect(assembleMessage(stream, subject, payload, signature)).to.deep.equal(message);
  });

  it("breaks with every changed byte", () => {
    const broken = (changed: Partial<SignedMessage>): void => {
      const { stream, subject, payload, signature } = { ...message, ...changed };
      expect(() =>
        verifyMessage(cluster, assembleMessage(stream, subject, payload, signature)),
      ).to.throw(HsmError);
    };
    for (const field of ["subject", "signature"] as const) {
      for (let i = 0; i < message[field].length; i++) {
        const bytes = Buffer.from(message[field]);
        bytes[i] = (bytes[i] ?? 0) ^ 1;
        broken({ [field]: bytes.toString() });
      }
    }
    for (let i = 0; i < message.payload.length; i++) {
      const payload = Buffer.from(message.payload);
      payload[i] = (payload[i] ?? 0) ^ 1;
      broken({ payload });
    }
    for (const stream of ["", "THSM_KEY", "THSM_SHARE", "THSM_AUDIT", "THSM_DEAL"] as const) {
      broken({ stream });
    }
  });

  it("is its body's sender's, in that sender's role, or refused", async () => {
    const body = { client: "alice", node: "n1" };
    expect(verifySender(cluster, message, body, "client").name).to.equal("alice");
    const check = (role: "client" | "node", says: object) => () =>
      verifySender(cluster, message, says, role);
    await failure(check("client", { client: "bob" }), "ERR_UNKNOWN_SENDER");
    await failure(check("node", body), "ERR_UNKNOWN_SENDER");
    const nobody = new IdentityKey(new Uint8Array(32).fill(7));
    const foreign = signMessage(nobody, "THSM_REQ", message.subject, {});
    await failure(() => verifyMessage(cluster, foreign), "ERR_UNKNOWN_SENDER");
    const { signature } = signMessage(n1, "THSM_REQ", message.subject, { a: 1 });
    const swapped = signature.replace(n1.publicKey.keyId, alice.publicKey.keyId);
    const forged = { ...message, signature: swapped };
    await failure(() => verifyMessage(cluster, forged), "ERR_INVALID_SIGNATURE");
  });

  it("has exactly one signature header", async () => {
    const h = headers();
    await failure(() => signatureOf(h), "ERR_INVALID_SIGNATURE");
    await failure(() => signatureOf(undefined), "ERR_INVALID_SIGNATURE");
    h.append("Thsm-Sig", message.signature);
    expect(signatureOf(h)).to.equal(message.signature);
    h.append("Thsm-Sig", message.signature);
    await failure(() => signatureOf(h), "ERR_INVALID_SIGNATURE");
  });
});
