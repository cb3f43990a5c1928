/** @module The cluster's signature under a checkpoint, asked of nodes of which some lie. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import {
  checkpointText,
  clusterNoteKey,
  isSignedBy,
  originOf,
} from "../../src/checkpoint/checkpoint.js";
import { formatNote, parseNote, signatureOf } from "../../src/checkpoint/note.js";
import { connect, signedByCluster, type HsmClient, type KeyInfo } from "../../src/client/index.js";
import { publicKeyDer } from "../../src/client/verify.js";
import { startCluster, type TestCluster } from "../support/cluster.js";
import { failure } from "../support/errors.js";
import { activeKey, ScriptedNode, spoil } from "./scripted-node.js";

describe("a checkpoint signed by the cluster, of five nodes with a threshold of three,", function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let nodes: ScriptedNode[];
  let client: HsmClient;
  let key: KeyInfo;
  let other: KeyInfo;

  before(async () => {
    cluster = await startCluster();
    const [id, otherId] = [
      await activeKey(cluster, "on-failure", ["checkpoint"]),
      await activeKey(cluster),
    ];
    nodes = await Promise.all([1, 2, 3, 4, 5].map((i) => new ScriptedNode(cluster, i).start()));
    client = await connect({ configFile: await cluster.clientConfig("alice") });
    const keys = await client.keys("zones");
    const named = (wanted: string): KeyInfo =>
      keys.find(({ keyId }) => keyId === wanted) ?? expect.fail(`no key ${wanted}`);
    [key, other] = [named(id), named(otherId)];
  });
  after(async () => {
    await client?.close();
    for (const node of nodes ?? []) node.stop();
    await cluster?.stop();
  });

  /** A note of `size` requests with the line of a node. */
  function noteOf(size: number): string {
    const root = createHash("sha256").update(String(size)).digest();
    const text = checkpointText({ origin: originOf(cluster.cluster.name), size, root });
    const line = { name: `${cluster.cluster.name}/n1`, type: "ed25519", publicKey: root } as const;
    return formatNote({ text, signatures: [signatureOf(line, new Uint8Array(64))] });
  }
  const sign = (of: KeyInfo, size: number): Promise<string> =>
    signedByCluster(client, cluster.cluster.name, of, noteOf(size));

  it("is signed when three have made it, whatever two liars answer", async () => {
    for (const [at, node] of nodes.entries()) node.behaviour = at < 2 ? { lie: spoil } : "sign";
    const note = parseNote(await sign(key, 7));
    const noteKey = clusterNoteKey(cluster.cluster.name, key.keyId, publicKeyDer(key));
    expect(isSignedBy(note, noteKey)).to.equal(true);
    expect(note.signatures).to.have.lengthOf(2);
    const changed = { ...note, text: note.text.replace("\n7\n", "\n8\n") };
    expect(isSignedBy(changed, noteKey)).to.equal(false);
    expect(isSignedBy(note, { ...noteKey, name: `${cluster.cluster.name}/x` })).to.equal(false);
  });

  it("is not signed when two would sign anything and three have not made it", async () => {
    for (const [at, node] of nodes.entries()) {
      node.behaviour = at < 2 ? "sign" : { refuse: "ERR_REFUSED_BY_POLICY" };
    }
    await failure(sign(key, 9), "ERR_REFUSED_BY_POLICY");
  });

  it("is not asked for with a key that signs other things", async () => {
    for (const node of nodes) node.behaviour = "sign";
    const { message } = await failure(sign(other, 7), "ERR_INVALID_ARGUMENT");
    expect(message).to.contain("thsm key generate --encoding checkpoint");
  });
});
