import { expect } from "chai";
import { toBase64url } from "../../src/identity/encoding.js";
import { silentLogger } from "../../src/log.js";
import { IgnoredMessages } from "../../src/node/ignored.js";
import { KeyDirectory, type KeyEntry } from "../../src/node/key-directory.js";
import { groupKeyBytes } from "../../src/scheme/index.js";
import type { StoredMessage } from "../../src/streams/envelope.js";
import { streamNames } from "../../src/streams/subjects.js";
import { testKey } from "../support/keys.js";
import { randomId, timeFromNow } from "./fake-client.js";
import { memoryCluster, storedMessage, type MemberName } from "./memory-cluster.js";

const { cluster, keys } = memoryCluster();
const key = "0123456789abcdef0123456789abcdef";
const group = groupKeyBytes(testKey(1024).group);

describe("the key directory", () => {
  let directory: KeyDirectory;
  let ignored: IgnoredMessages;
  let changes: KeyEntry[];
  beforeEach(() => {
    changes = [];
    ignored = new IgnoredMessages(silentLogger);
    const onChange = (entry: KeyEntry): void => void changes.push(entry);
    directory = new KeyDirectory({ cluster, node: "n1", ignored, onChange });
  });

  const say = (signer: MemberName, body: object, subjectKey: string = key): StoredMessage => {
    const subject = `thsm.v1.key.${subjectKey}`;
    const message = storedMessage(keys[signer], streamNames.keys, subject, body);
    directory.apply(message);
    return message;
  };
  const propose = (more: object = {}, signer: MemberName = "alice"): StoredMessage =>
    say(signer, {
      version: 1,
      type: "proposed",
      key,
      epoch: 0,
      client: signer,
      token: "zones",
      label: "",
      id: "01",
      algorithm: "rsa",
      scheme: "shoup",
      modulus: toBase64url(group.modulus),
      publicExponent: toBase64url(group.publicExponent),
      threshold: 2,
      parties: ["n3", "n1", "n2"],
      minimum: 2,
      verificationBase: toBase64url(group.verificationBase),
      verificationKeys: group.verificationKeys.map((one) => toBase64url(one)),
      encodings: ["pkcs1v15"],
      hashes: ["sha256"],
      maxInputs: 64,
      proofs: "on-failure",
      time: timeFromNow(),
      ...more,
    });
  const bodies = {
    activated: { accepted: [1, 2], session: randomId(), rid: randomId() },
    abandoned: { reason: "" },
    destroyed: {},
  };
  const decide = (
    type: keyof typeof bodies,
    proposal: string,
    client: MemberName,
    signer: MemberName = client,
  ): StoredMessage => {
    const head = { version: 1, type, key, client, proposal };
    return say(signer, { ...head, ...bodies[type], time: timeFromNow() });
  };
  /** This node, party 2, and another one take part. */
  const accept = (proposal: string): void => {
    for (const [node, party] of [
      ["n3", 1],
      ["n1", 2],
    ] as const) {
      const head = { version: 1, type: "accepted", key, node, party, proposal };
      say(node, { ...head, time: timeFromNow(), n: 1, prev: "0".repeat(64) });
    }
  };
  const own = (type: string, proposal: string, signer: MemberName, party: number): void => {
    const head = { version: 1, type, key, node: "n1", party, proposal, time: timeFromNow() };
    say(signer, { ...head, n: 1, prev: "0".repeat(64) });
  };
  const state = (): string | undefined => directory.find(key)?.state;

  it("knows its own party by the record, and the record's numbers", () => {
    const { hash } = propose();
    const entry = directory.find(key);
    expect(entry).to.include({ proposal: hash, party: 2, state: "proposed", isAuthorised: true });
    expect(entry?.group().modulusBits).to.equal(1024);
    expect(changes).to.deep.equal([entry]);
  });

  it("holds on to the first proposal", () => {
    const { hash } = propose();
    propose({ label: "second" });
    propose({}, "bob");
    expect(directory.find(key)?.proposal).to.equal(hash);
    expect(ignored.take()).to.deep.equal(["ERR_CONFLICT 2"]);
  });

  it("lets the proposer activate, or abandon before", () => {
    const { hash } = propose();
    decide("activated", hash, "bob");
    decide("activated", hash, "alice", "eve");
    decide("activated", "0".repeat(64), "alice");
    decide("activated", hash, "alice");
    expect(state()).to.equal("proposed");
    accept(hash);
    decide("activated", hash, "alice");
    decide("abandoned", hash, "alice");
    expect(state()).to.equal("active");
    expect(ignored.take()).to.deep.equal([
      "ERR_UNKNOWN_SENDER 2",
      "ERR_UNKNOWN_KEY 1",
      "ERR_CONFLICT 2",
    ]);
  });

  it("lets any client of the token destroy, for good", () => {
    const { hash } = propose();
    decide("destroyed", hash, "bob");
    expect(state()).to.equal("proposed");
    accept(hash);
    decide("activated", hash, "alice");
    decide("destroyed", hash, "eve");
    expect(state()).to.equal("active");
    decide("destroyed", hash, "bob");
    decide("activated", hash, "alice");
    expect(state()).to.equal("destroyed");
  });

  it("does not wake what was abandoned", () => {
    const { hash } = propose();
    decide("abandoned", hash, "alice");
    decide("activated", hash, "alice");
    expect(state()).to.equal("abandoned");
  });

  it("hears itself, under its own party and signature", () => {
    const { hash } = propose();
    own("accepted", hash, "n2", 2);
    own("accepted", hash, "alice", 2);
    own("accepted", hash, "n1", 1);
    expect(directory.find(key)?.said.has("accepted")).to.equal(false);
    own("accepted", hash, "n1", 2);
    expect(directory.find(key)?.said.has("accepted")).to.equal(true);
  });

  it("keeps a key whose proposer has left the token, if this node had accepted it", () => {
    const { hash } = propose({}, "eve");
    expect(directory.find(key)?.isAuthorised).to.equal(false);
    own("accepted", hash, "n1", 2);
    expect(directory.find(key)?.isAuthorised).to.equal(true);
  });

  it("survives everything else", () => {
    const { hash } = propose();
    const count = changes.length;
    say("alice", { type: "later-invention", what: "ever" });
    say("alice", {});
    say("alice", { type: "__proto__" });
    say("alice", { version: 1, type: "destroyed", key, client: "alice", proposal: 7 });
    const destroyed = { version: 1, type: "destroyed", key, client: "alice", proposal: hash };
    say("alice", { ...destroyed, time: timeFromNow() }, "f".repeat(32));
    directory.apply({ ...propose(), payload: Buffer.from("\xff") });
    expect(state()).to.equal("proposed");
    expect(changes).to.have.length(count);
  });
});
