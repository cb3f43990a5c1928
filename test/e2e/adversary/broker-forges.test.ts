/**
 * @module A broker that stores nothing and forges everything: it shows the nodes a request as stored, and the
 * client its acknowledgement. Nothing tells the client: the signature is right, and on no record but the nodes'. What
 * tells are the nodes, when the broker goes on, and the audit.
 */
import { createHash, verify } from "node:crypto";
import { expect } from "chai";
import type { HsmClient, KeyInfo } from "../../../src/client/index.js";
import { HsmError } from "../../../src/errors.js";
import { streamNames } from "../../../src/streams/subjects.js";
import type { Link, Packet } from "../../support/proxy.js";
import { bodyOf, readHistory } from "../history.js";
import { publicKeyOf } from "../sign-loop.js";
import { until } from "../until.js";
import { nodeNames, startBehindProxy, type BehindProxy } from "./behind-proxy.js";

const ackPrefix = `$JS.ACK.${streamNames.requests}.`;
/** The word of such a reply subject that is the entry's number. */
const seqWord = 5;

describe("a broker that stores nothing and forges everything", function () {
  this.timeout(180_000);
  let place: BehindProxy;
  let client: HsmClient;
  let key: KeyInfo;
  let texts = 0;
  /** Each node's newest delivery: what a forgery looks like. */
  const deliveries = new Map<Link, Packet>();
  let newest = 0;

  before(async () => {
    place = await startBehindProxy();
    client = await place.cluster.client();
    key = await client.generateKey({ token: "dns", label: "k", modulusBits: 1024 });
  });
  after(async () => {
    await client.close();
    await place.close();
  });

  /** A right signature of these inputs' digest, or the error. */
  async function sign(): Promise<{ digest: string; error?: HsmError }> {
    const text = Buffer.from(`text ${++texts}`);
    const data = createHash("sha256").update(text).digest();
    const digest = data.toString("hex");
    const session = await client.openSession("dns", "victim");
    try {
      const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
      const signature = await session.sign(input, { timeoutMs: 10_000 });
      expect(verify("sha256", text, publicKeyOf(key), signature)).to.equal(true);
      return { digest };
    } catch (error) {
      if (!(error instanceof HsmError)) throw error;
      return { digest, error };
    } finally {
      session.close().catch(() => undefined);
    }
  }

  const isDelivery = ({ way, reply }: Packet): boolean =>
    way === "down" && reply.startsWith(ackPrefix);
  const isRequest = ({ way, subject }: Packet): boolean =>
    way === "up" && subject.startsWith("thsm.v1.req.");

  const codes = async (): Promise<string[]> => {
    const { stdout } = await place.cluster.thsm("--json", "audit", "verify");
    const { findings } = JSON.parse(stdout.toString("utf8")) as { findings: { code: string }[] };
    return [...new Set(findings.map(({ code }) => code))];
  };

  it("gets a right signature made that is not recorded, and the audit says so", async () => {
    place.proxy.lie = (packet, link) => {
      if (isDelivery(packet)) {
        deliveries.set(link, packet);
        newest = Math.max(newest, Number(packet.reply.split(".")[seqWord]));
      }
      return [packet];
    };
    await until("every node has had a delivery", async () => {
      expect((await sign()).error).to.equal(undefined);
      return deliveries.size === nodeNames.length;
    });
    expect(await codes()).to.deep.equal([]);
    place.proxy.lie = (packet, link) => {
      if (!isRequest(packet)) return [packet];
      newest += 1;
      for (const [node, { reply, sid }] of deliveries) {
        const words = reply.split(".").with(seqWord, String(newest));
        node.pass({ ...packet, way: "down", sid, reply: words.join(".") });
      }
      const ack = { stream: streamNames.requests, seq: newest };
      link.deliver(packet.reply, Buffer.from(JSON.stringify(ack)));
      return [];
    };
    const { digest, error } = await sign();
    place.proxy.lie = undefined;
    expect(error, "nothing could tell").to.equal(undefined);

    const history = await readHistory(place.cluster);
    const requests = history.filter(({ stream }) => stream === streamNames.requests);
    const inputs = requests.flatMap((one) => bodyOf(one)["inputs"] as string[]);
    expect(inputs).to.not.include(digest);
    expect(await codes()).to.include.members([
      "AUDIT_RESULT_WITHOUT_REQUEST",
      "AUDIT_SHARE_WITHOUT_REQUEST",
    ]);
  });

  it("is found out by those whom the next true request asks too: they refuse, and none makes a checkpoint", async () => {
    const telling = async (pattern: RegExp): Promise<number> => {
      const logs = await Promise.all(nodeNames.map((name) => place.cluster.log(name)));
      return logs.filter((log) => pattern.test(log)).length;
    };
    expect(await telling(/history broken/)).to.equal(0);
    // Of five nodes three are asked each time, so that one at least has seen both; when all three have, no quorum is left.
    const { error } = await sign();
    expect(error?.code).to.be.oneOf([undefined, "ERR_AUDIT_MISMATCH"]);
    await until("a node halts", async () => (await telling(/has held two requests as/)) > 0);
    await until("no checkpoints", async () => {
      const pattern = /another entry \d+ than before.*no checkpoints/;
      return (await telling(pattern)) === nodeNames.length;
    });
    const { code, text } = await place.cluster.thsm("status");
    expect(code, text).to.equal(3);
    expect(text).to.match(/WARNING node n\d refuses to sign: THSM_REQ has held two requests/);
  });
});
