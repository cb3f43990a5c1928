import { expect } from "chai";
import * as fc from "fast-check";
import { HsmError, type HsmErrorCode } from "../../src/errors.js";
import { Cluster } from "../../src/identity/cluster.js";
import { IdentityKey } from "../../src/identity/identity-key.js";
import { SealedShare } from "../../src/streams/deals.js";
import { signMessage, type StoredMessage } from "../../src/streams/envelope.js";
import type { KeyRecord } from "../../src/streams/key-life.js";
import { KeyLives } from "../../src/streams/key-lives.js";
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
    // Two clients may say the same at once.
    abandoned: ["ready", "accepted", "rejected", "erased", "abandoned"],
    destroyed: ["ready", "accepted", "rejected", "erased", "destroyed"],
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
    const refused: [KeyRecord["state"], HsmErrorCode, StoredMessage][] = [
      ["proposed", "ERR_UNKNOWN_SENDER", byClient("abandoned", "bob")],
      ["proposed", "ERR_UNKNOWN_SENDER", byClient("activated", "bob")],
      ["active", "ERR_UNKNOWN_SENDER", byClient("destroyed", "eve")],
      [
        "proposed",
        "ERR_UNKNOWN_SENDER",
        say("n2", bodyOf("ready", { proposal, node: "n2", party: 1 })),
      ],
      [
        "proposed",
        "ERR_UNKNOWN_SENDER",
        say("n4", bodyOf("ready", { proposal, node: "n4", party: 4 })),
      ],
      ["proposed", "ERR_UNKNOWN_KEY", byClient("abandoned", "alice", { proposal: "0".repeat(64) })],
      ["proposed", "ERR_CONFLICT", byClient("activated")],
    ];
    for (const [state, code, message] of refused) {
      await failure(() => after(paths[state]).apply(message), code);
    }
    const forged = say("n2", bodyOf("ready", { proposal, node: "n1", party: 1 }));
    await failure(() => after(paths.proposed).apply(forged), "ERR_UNKNOWN_SENDER");
    const role = say("n1", bodyOf("abandoned", { proposal }));
    await failure(() => after(paths.proposed).apply(role), "ERR_UNKNOWN_SENDER");
    for (const more of [
      { parties: ["n1", "n2", "nobody"] },
      { verificationKeys: ["AQAB"] },
      { threshold: 4, minimum: 4 },
      { minimum: 1 },
      { encodings: ["pkcs1v15", "checkpoint"] },
      { encodings: ["decrypt", "checkpoint", "raw"] },
      { encodings: ["decrypt", "pss"] },
    ]) {
      const message = say("alice", bodyOf("proposed", more));
      await failure(() => new KeyLives(cluster).apply(message), "ERR_CONFLICT");
    }
  });

  it("remembers a proposal by a client without the token, but not as authorised", () => {
    const lives = new KeyLives(cluster);
    lives.apply(say("alice", bodyOf("proposed", { token: "other" })));
    expect(lives.get(keyId)).to.include({ state: "proposed", isAuthorised: false });
  });

  it("lets a party withdraw before the activation, for good, and erase then", async () => {
    const lives = after([proposed, ...accepted, byParty("rejected", 1)]);
    expect([...(lives.get(keyId)?.accepted ?? [])]).to.deep.equal([2, 3]);
    await failure(() => lives.apply(byClient("activated")), "ERR_CONFLICT");
    await failure(() => lives.apply(byParty("accepted", 1)), "ERR_CONFLICT");
    await failure(() => lives.apply(byParty("erased", 2)), "ERR_CONFLICT");
    lives.apply(byParty("erased", 1));
    expect(lives.get(keyId)?.state).to.equal("proposed");
    // Behind the activation it comes too late.
    const active = after([...paths.active, byParty("rejected", 1)]);
    expect(active.get(keyId)?.holders).to.deep.equal([1, 2, 3]);
    await failure(() => active.apply(byParty("erased", 1)), "ERR_CONFLICT");
  });

  it("counts who accepts behind the activation among those that sign", () => {
    const some = say("alice", bodyOf("proposed", { minimum: 2 }));
    const of = (message: string, party: number): StoredMessage =>
      say(`n${party}`, bodyOf(message, { proposal: some.hash, party, node: `n${party}` }));
    const activated = bodyOf("activated", { proposal: some.hash, accepted: [1, 2] });
    const lives = after([some, of("accepted", 2), of("accepted", 1), say("alice", activated)]);
    expect(lives.get(keyId)?.holders).to.deep.equal([1, 2]);
    lives.apply(of("accepted", 3));
    expect(lives.get(keyId)?.holders).to.deep.equal([1, 2, 3]);
  });

  it("may be abandoned by any client of its token once its proposal has expired", async () => {
    const start = Date.parse(String(examples["proposed"]?.body["time"]));
    const at = (ms: number): string => new Date(start + ms).toISOString();
    for (const [expires, lifetimeMs] of [
      [at(5000), 5000],
      [undefined, 120_000],
    ] as const) {
      const made = say("alice", bodyOf("proposed", expires === undefined ? {} : { expires }));
      const end = (client: string, ms: number): StoredMessage =>
        say(client, bodyOf("abandoned", { proposal: made.hash, client, time: at(ms) }));
      const lives = after([made]);
      const early = end("bob", lifetimeMs - 1);
      await failure(() => lives.apply(early), "ERR_UNKNOWN_SENDER");
      await failure(() => lives.apply(end("eve", lifetimeMs)), "ERR_UNKNOWN_SENDER");
      lives.apply(end("bob", lifetimeMs));
      expect(lives.get(keyId)?.state).to.equal("abandoned");
    }
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
          if (state === "proposed" || state === "active") {
            for (const party of record.erased) expect(record.accepted.has(party)).to.equal(false);
          }
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
