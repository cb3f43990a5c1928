/** @module Nodes, clients and auditors hear the same events, in any order: they see the same keys. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import { KeyHistory } from "../../src/client/audit/key-history.js";
import { HsmError } from "../../src/errors.js";
import { silentLogger } from "../../src/log.js";
import { IgnoredMessages } from "../../src/node/ignored.js";
import { KeyDirectory } from "../../src/node/key-directory.js";
import type { StoredMessage } from "../../src/streams/envelope.js";
import type { KeyRecord } from "../../src/streams/key-life.js";
import { KeyLives } from "../../src/streams/key-lives.js";
import { readKeyEvent, verifySender } from "../../src/streams/open.js";
import { memoryCluster, storedMessage, type MemberName } from "../node/memory-cluster.js";
import { examples } from "./examples.js";

const numRuns = process.env["SLOW"] === "1" ? 5000 : 300;
const { cluster, keys } = memoryCluster();
const start = Date.parse(String(examples["proposed"]?.body["time"]));
const nodes = ["n1", "n2", "n3"] as const;
const keyIds = ["a", "b"].map((name) => createHash("md5").update(name).digest("hex"));

function say(signer: MemberName, type: string, key: string, more: object): StoredMessage {
  const body = { ...examples[type]?.body, key, ...more };
  return storedMessage(keys[signer], "THSM_KEY", `thsm.v1.key.${key}`, body);
}

/** Everything that anybody could say about a key, whether he may or not. */
function everything(key: string): StoredMessage[] {
  const expires = new Date(start + 5000).toISOString();
  const terms = { minimum: 2, expires };
  const proposals = [
    say("alice", "proposed", key, terms),
    say("alice", "proposed", key, { ...terms, minimum: 3 }),
    say("eve", "proposed", key, { ...terms, client: "eve" }),
    say("alice", "proposed", key, { ...terms, threshold: 3, minimum: 2 }),
  ];
  return proposals.flatMap((proposed, index) => {
    const proposal = proposed.hash;
    const parties = nodes.flatMap((node, i) =>
      ["ready", "accepted", "rejected", "erased"].flatMap((type) => [
        say(node, type, key, { proposal, node, party: i + 1 }),
        say(node, type, key, { proposal, node, party: i + 1, n: 8 }),
        ...(index === 0 ? [say(node, type, key, { proposal, node, party: 1 })] : []),
        ...(index === 0 ? [say("n2", type, key, { proposal, node, party: i + 1 })] : []),
      ]),
    );
    const decisions = (["alice", "bob", "eve"] as const).flatMap((client) => [
      say(client, "activated", key, { proposal, client, accepted: [1, 2] }),
      say(client, "activated", key, { proposal, client, accepted: [1, 2, 3] }),
      say(client, "abandoned", key, { proposal, client }),
      say(client, "abandoned", key, { proposal, client, time: expires }),
      say(client, "destroyed", key, { proposal, client }),
      say("alice", "destroyed", key, { proposal, client }),
    ]);
    return [proposed, ...parties, ...decisions];
  });
}

/** What all three must agree on. */
function essence(record: KeyRecord | undefined): unknown {
  if (record === undefined) return undefined;
  const { proposalHash, isAuthorised, state, accepted, rejected, holders } = record;
  const parties = [...accepted].toSorted((a, b) => a - b);
  const without = [...rejected.keys()].toSorted((a, b) => a - b);
  return { proposalHash, isAuthorised, state, parties, without, holders };
}

/** The straight way through a key's life. */
function orderly(key: string, all: readonly StoredMessage[]): StoredMessage[] {
  const proposed = all.find((message) => message.subject.endsWith(key));
  if (proposed === undefined) throw new Error("nothing was proposed");
  const proposal = proposed.hash;
  return [
    proposed,
    say("n1", "accepted", key, { proposal, node: "n1", party: 1 }),
    say("n2", "accepted", key, { proposal, node: "n2", party: 2 }),
    say("alice", "activated", key, { proposal, client: "alice", accepted: [1, 2] }),
    say("bob", "destroyed", key, { proposal, client: "bob" }),
    say("n3", "erased", key, { proposal, node: "n3", party: 3 }),
  ];
}

describe("the projections of THSM_KEY", () => {
  const anything = keyIds.flatMap(everything);
  const paths = keyIds.map((key) => orderly(key, anything));
  const seen = new Set<string>();

  it("agree on every key, whatever is said in whatever order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(anything.length - 1), { minLength: 1, maxLength: 60 }),
        fc.tuple(fc.nat(6), fc.nat(6)),
        (indices, lengths) => {
          // Chance alone seldom comes far: each key first goes some way as it should.
          const begun = paths.flatMap((path, i) => path.slice(0, lengths[i]));
          const messages = [...begun, ...indices.flatMap((index) => anything[index] ?? [])];
          const lives = new KeyLives(cluster);
          const history = new KeyHistory(cluster, () => undefined);
          const directories = nodes.map((node) => {
            const ignored = new IgnoredMessages(silentLogger);
            return new KeyDirectory({ cluster, node, ignored, onChange: () => undefined });
          });
          for (const message of messages) {
            try {
              lives.apply(message);
            } catch (error) {
              if (!(error instanceof HsmError)) throw error;
            }
            for (const directory of directories) directory.apply(message);
            audit(history, message);
            for (const key of keyIds) {
              const expected = essence(lives.get(key));
              seen.add(lives.get(key)?.state ?? "unknown");
              expect(essence(history.life(key))).to.deep.equal(expected);
              for (const directory of directories) {
                expect(essence(directory.find(key)?.life)).to.deep.equal(expected);
              }
            }
          }
        },
      ),
      { numRuns, seed: 7 },
    );
    // A run that never comes anywhere would agree on nothing.
    expect([...seen].toSorted()).to.include.members([
      "abandoned",
      "active",
      "destroyed",
      "proposed",
    ]);
  }).timeout(120_000);
});

/** As the auditor's engine does: what is not its sender's comes to no projection. */
function audit(history: KeyHistory, message: StoredMessage): void {
  try {
    const body = readKeyEvent(message);
    if (body === undefined) return;
    verifySender(cluster, message, body, "client" in body ? "client" : "node");
    history.add({ message, body });
  } catch (error) {
    if (!(error instanceof HsmError)) throw error;
  }
}
