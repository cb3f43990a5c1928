/**
 * @module A broker that shows one node of five something else than the others: no requests, then requests in another
 * order. It can forge nothing; that the node was shown another history is seen by its own checkpoints.
 */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { parseCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { parseNote } from "../../../src/checkpoint/note.js";
import {
  witnessedCheckpoint,
  type HsmClient,
  type KeyInfo,
  type SigningSession,
} from "../../../src/client/index.js";
import { HsmError } from "../../../src/errors.js";
import { streamNames } from "../../../src/streams/subjects.js";
import type { Link, Packet } from "../../support/proxy.js";
import { auditOf, withHistory } from "../history.js";
import { until } from "../until.js";
import { nodeNames, startBehindProxy, type BehindProxy } from "./behind-proxy.js";

const victim = "n3";
const longMs = 240_000;

function isShown({ way, reply }: Packet, { member }: Link): boolean {
  const isDelivery = way === "down" && reply.startsWith(`$JS.ACK.${streamNames.requests}.`);
  return isDelivery && member === victim;
}

if (process.env["SLOW"] === "1") {
  describe("a broker that shows one node another history", function () {
    this.timeout(600_000);
    let place: BehindProxy;
    let client: HsmClient;
    let key: KeyInfo;
    let session: SigningSession;
    let texts = 0;

    before(async () => {
      place = await startBehindProxy();
      const { cluster } = place;
      for (const name of nodeNames) {
        await cluster.kill(name);
        const file = join(cluster.dir, "nodes", name, "node.toml");
        await writeFile(file, `checkpointSeconds = 1\n${await readFile(file, "utf8")}`);
        await cluster.startNode(name);
      }
      client = await cluster.client();
      key = await client.generateKey({ token: "dns", label: "k", modulusBits: 1024 });
      session = await client.openSession("dns", "victim");
    });
    after(async () => {
      await client?.close();
      await place?.close();
    });

    async function sign(): Promise<void> {
      const data = createHash("sha256").update(`text ${++texts}`).digest();
      const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
      await session.sign(input, { timeoutMs: 30_000 });
    }

    /** Requests under the newest checkpoint of so many nodes, or why there is none. */
    function witnessed(witnesses: number): Promise<number | HsmError> {
      return withHistory(place.cluster, async ({ source, cluster }) => {
        try {
          const note = await witnessedCheckpoint(source, cluster, witnesses);
          return parseCheckpoint(parseNote(note).text).size;
        } catch (error) {
          if (error instanceof HsmError) return error;
          throw error;
        }
      });
    }

    async function stored(): Promise<number> {
      const bounds = await withHistory(place.cluster, ({ source }) => source.bounds());
      return bounds.THSM_REQ.last;
    }

    async function expectWitnesses(count: number): Promise<void> {
      const size = await stored();
      const what = `${count} nodes vouch for ${size} requests`;
      await until(what, async () => Number(await witnessed(count)) >= size, longMs);
    }

    it("none: the others sign, its checkpoints stay behind, and it catches up when it is shown all", async () => {
      await expectWitnesses(nodeNames.length);
      place.proxy.lie = (packet, link) => (isShown(packet, link) ? [] : [packet]);
      for (let i = 0; i < 4; i++) await sign();
      await expectWitnesses(nodeNames.length - 1);
      expect(await witnessed(nodeNames.length)).to.be.lessThan(await stored());
      place.proxy.lie = undefined;
      await expectWitnesses(nodeNames.length);
      expect((await auditOf(place.cluster)).codes).to.deep.equal([]);
    });

    it("another order: its checkpoints are of another history, and it is the only one that is named", async () => {
      let held: Packet | undefined;
      let swapped = 0;
      place.proxy.lie = (packet, link) => {
        if (!isShown(packet, link)) return [packet];
        if (held === undefined) {
          held = packet;
          return [];
        }
        const [first, second] = [held, packet];
        held = undefined;
        swapped++;
        return [withContent(first, second), withContent(second, first)];
      };
      await until("requests were shown in another order", async () => {
        await sign();
        return swapped > 0 && held === undefined;
      });
      place.proxy.lie = undefined;
      await expectWitnesses(nodeNames.length - 1);
      await until(
        "its checkpoint is on record",
        async () => (await auditOf(place.cluster)).codes.includes("AUDIT_CHECKPOINT_WRONG_ROOT"),
        longMs,
      );
      const { findings } = await auditOf(place.cluster);
      const real = findings.filter(({ severity }) => severity === "finding");
      expect(new Set(real.map(({ node }) => node))).to.deep.equal(new Set([victim]));
      // The others go on without it.
      await sign();
    });
  });
}

/** The one's place in the stream with the other's message in it. */
function withContent(place: Packet, { subject, headers, payload }: Packet): Packet {
  return { ...place, subject, headers, payload };
}
