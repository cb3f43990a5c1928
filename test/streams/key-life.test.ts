import { expect } from "chai";
import * as fc from "fast-check";
import { HsmError } from "../../src/errors.js";
import { Cluster } from "../../src/identity/cluster.js";
import { IdentityKey } from "../../src/identity/identity-key.js";
import { SealedShare } from "../../src/streams/deals.js";
import { signMessage, type StoredMessage } from "../../src/streams/envelope.js";
import { KeyLives, type KeyRecord } from "../../src/streams/key-life.js";
import { createSealingKey, sealShare } from "../../src/streams/sealing.js";
import { failure } from "../support/errors.js";
import { examples } from "./examples.js";

const numRuns = process.env["SLOW"] === "1" ? 500 : 20;
const names = ["n1", "n2", "n3", "n4", "alice", "bob", "eve"];
const keys = new Map(
  names.map((name, i) => [name, new IdentityKey(new Uint8Array(32).fill(i + 1))]),
);
const keyOf = (name: string): IdentityKey => keys.get(name) ?? new IdentityKey(new Uint8Array(32));
const entry = (name: string): object => ({
  name,
  identity: keyOf(name).publicKey.text,
  login: `U${"ABCDEFG"[names.indexOf(name)]?.repeat(55)}`,
});
const cluster = new Cluster(
  {
    version: 1,
    name: "c",
    servers: ["nats://127.0.0.1:4222"],
    node: names.slice(0, 4).map(entry),
    client: names.slice(4).map(entry),
    token: [
      { name: "zones", clients: ["alice", "bob"] },
      { name: "other", clients: ["eve"] },
    ],
  },
  "/",
);

let seq = 0;
function say(who: string, body: object): StoredMessage {
  const { subject } = examples["proposed"] ?? { subject: "" };
  const time = "2026-01-01T00:00:00.000Z";
  return { ...signMessage(keyOf(who), "THSM_KEY", subject, body), seq: ++seq, time };
}
const bodyOf = (type: string, more: object = {}): object => ({ ...examples[type]?.body, ...more });
const proposed = say("alice", bodyOf("proposed"));
const proposal = proposed.hash;
const byParty = (type: string, party: number): StoredMessage =>
  say(`n${party}`, bodyOf(type, { proposal, party, node: `n${party}` }));
const byClient = (type: string, client = "alice", more: object = {}): StoredMessage =>
  say(client, bodyOf(type, { proposal, client, ...more }));

const accepted = [1, 2, 3].map((party) => byParty("accepted", party));
const paths: Readonly<Record<KeyRecord["state"], StoredMessage[]>> = {
  proposed: [proposed],
  active: [proposed, ...accepted, byClient("activated")],
  abandoned: [proposed, byClient("abandoned")],
  destroyed: [proposed, ...accepted, byClient("activated"), byClient("destroyed", "bob")],
};
function after(messages: readonly StoredMessage[]): KeyLives {
  const lives = new KeyLives(cluster);
  for (const message of messages) lives.apply(message);
  return lives;
}

describe("the life of a key", () => {
  const keyId = String(examples["proposed"]?.body["key"]);
  const legal: Readonly<Record<KeyRecord["state"], readonly string[]>> = {
    proposed: ["ready", "accepted", "rejected", "abandoned"],
    // Late answers to a dealing change nothing.
    active: ["ready", "accepted", "rejected", "destroyed"],
    abandoned: ["ready", "accepted", "rejected", "erased"],
    destroyed: ["ready", "accepted", "rejected", "erased"],
  };
  const parties = ["ready", "accepted", "rejected", "erased"];
  for (const state of ["proposed", "active", "abandoned", "destroyed"] as const) {
    it(`takes from ${state} only what is legal`, async () => {
      for (const type of [...parties, "activated", "abandoned", "destroyed", "proposed"]) {
        const lives = after(paths[state]);
        expect(lives.get(keyId)?.state).to.equal(state);
        const message =
          type === "proposed"
            ? say("alice", bodyOf("proposed", { label: "again" }))
            : parties.includes(type)
              ? byParty(type, 1)
              : byClient(type);
        if (legal[state].includes(type)) expect(lives.apply(message)).to.not.equal(undefined);
        else await failure(() => lives.apply(message), "ERR_CONFLICT");
      }
    });
  }

  it("is told by those who may, and by nobody else", async () => {
    const refused: [KeyRecord["state"], StoredMessage][] = [
      ["proposed", byClient("abandoned", "bob")],
      ["active", byClient("destroyed", "eve")],
      ["proposed", say("n2", bodyOf("ready", { proposal, node: "n2", party: 1 }))],
      ["proposed", say("n4", bodyOf("ready", { proposal, node: "n4", party: 4 }))],
      ["proposed", byClient("abandoned", "alice", { proposal: "0".repeat(64) })],
      ["proposed", byClient("activated")],
    ];
    for (const [state, message] of refused) {
      await failure(() => after(paths[state]).apply(message), "ERR_CONFLICT");
    }
    const forged = say("n2", bodyOf("ready", { proposal, node: "n1", party: 1 }));
    await failure(() => after(paths.proposed).apply(forged), "ERR_UNKNOWN_SENDER");
    const role = say("n1", bodyOf("abandoned", { proposal }));
    await failure(() => after(paths.proposed).apply(role), "ERR_UNKNOWN_SENDER");
    for (const more of [
      { token: "other" },
      { parties: ["n1", "n2", "nobody"] },
      { verificationKeys: ["AQAB"] },
      { threshold: 4, minimum: 4 },
      { minimum: 1 },
    ]) {
      const message = say("alice", bodyOf("proposed", more));
      await failure(() => new KeyLives(cluster).apply(message), "ERR_CONFLICT");
    }
  });

  it("counts a party by its last word", () => {
    const record = after([proposed, byParty("accepted", 1), byParty("rejected", 1)]).get(keyId);
    expect([record?.accepted.size, record?.rejected.size]).to.deep.equal([0, 1]);
  });

  it("never reaches an impossible state, whatever is said in whatever order", () => {
    const anything = [
      proposed,
      ...parties.flatMap((type) => [1, 2, 3].map((party) => byParty(type, party))),
      byClient("activated"),
      byClient("activated", "bob"),
      byClient("abandoned"),
      byClient("destroyed"),
      byClient("destroyed", "eve"),
    ];
    const steps: Readonly<Record<string, readonly string[]>> = {
      proposed: ["active", "abandoned"],
      active: ["destroyed"],
      abandoned: [],
      destroyed: [],
    };
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...anything), { maxLength: 60 }), (messages) => {
        const lives = new KeyLives(cluster);
        let state: string | undefined;
        for (const message of messages) {
          try {
            lives.apply(message);
          } catch (error) {
            expect(error).to.be.instanceOf(HsmError);
          }
          const record = lives.get(keyId);
          if (record === undefined) continue;
          if (state !== undefined && record.state !== state) {
            expect(steps[state]).to.include(record.state);
          }
          ({ state } = record);
          if (state === "active") expect(record.holders).to.deep.equal([1, 2, 3]);
          if (state === "proposed" || state === "active") expect(record.erased.size).to.equal(0);
          for (const party of record.accepted) expect(record.rejected.has(party)).to.equal(false);
        }
      }),
      { numRuns: 10 * numRuns },
    );
  });
});

describe("sealed shares", () => {
  const dealing = {
    key: "0".repeat(32),
    epoch: 0,
    client: "alice",
    node: "n1",
    party: 1,
    proposal: "1".repeat(64),
  };

  it("open with the one-time key and for the dealing that they were sealed for", async () => {
    const mine = await createSealingKey();
    const plain = Uint8Array.of(1, 2, 3);
    const sealed = await sealShare({ ...dealing, sealingKey: mine.publicKey }, plain);
    expect(await mine.open(sealed)).to.deep.equal(plain);
    const theirs = await createSealingKey();
    for (const change of [
      { key: "2".repeat(32) },
      { epoch: 1 },
      { node: "n2" },
      { party: 2 },
      { proposal: "3".repeat(64) },
      { enc: theirs.publicKey },
      { enc: "A".repeat(43) },
      { ciphertext: "AAAA" },
      { ciphertext: `${sealed.ciphertext.slice(0, -4)}AAAA` },
      { sealingKey: theirs.publicKey },
    ]) {
      await failure(
        mine.open(Object.assign(new SealedShare(), sealed, change)),
        "ERR_INVALID_KEY_SHARE",
      );
    }
    const claimed = Object.assign(new SealedShare(), sealed, { sealingKey: theirs.publicKey });
    await failure(theirs.open(claimed), "ERR_INVALID_KEY_SHARE");
    expect(JSON.stringify(mine)).to.equal(JSON.stringify({ publicKey: mine.publicKey }));
  });
});
