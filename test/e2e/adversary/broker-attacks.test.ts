/**
 * @module What members and strangers can do with the ordinary means of NATS, each tried with its own login
 * against real servers and nodes: the attacks of the design's NATS page that no other test has. None yields
 * a signature, a foreign answer that counts, or a cluster that stops.
 */
import { expect } from "chai";
import { createHash, randomBytes, verify } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { fromSeed } from "@nats-io/nkeys";
import { headers as newHeaders, type NatsConnection } from "nats";
import { findNatsServer } from "../../../src/cli/programs.js";
import type { HsmClient, KeyInfo } from "../../../src/client/index.js";
import { readCluster } from "../../../src/identity/cluster.js";
import { toBase64url } from "../../../src/identity/encoding.js";
import { silentLogger } from "../../../src/log.js";
import { connectBus } from "../../../src/streams/connection.js";
import { assembleMessage, verifyMessage } from "../../../src/streams/envelope.js";
import { StreamReader } from "../../../src/streams/read.js";
import { formatSubject, streamNames } from "../../../src/streams/subjects.js";
import { failure } from "../../support/errors.js";
import { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import { publicKeyOf } from "../sign-loop.js";
import { until } from "../until.js";

const nodes = ["n1", "n2", "n3", "n4", "n5"];
const randomId = (): string => toBase64url(randomBytes(16));
const newer = process.env["THSM_TEST_NATS_SERVER"];

for (const binary of [findNatsServer(), ...(newer === undefined ? [] : [newer])]) {
  describe(`attacks by the means of NATS, ${binary}`, function () {
    this.timeout(180_000);
    let cluster: TestCluster;
    let client: HsmClient;
    let key: KeyInfo;
    let pids: (number | undefined)[];
    let texts = 0;
    const open: NatsConnection[] = [];
    const usual = process.env["THSM_NATS_SERVER"];

    const pidsNow = (): Promise<(number | undefined)[]> =>
      Promise.all(nodes.map((name) => cluster.processes.find(name)));

    before(async () => {
      process.env["THSM_NATS_SERVER"] = binary;
      cluster = await TestCluster.start();
      client = await cluster.client();
      key = await client.generateKey({ token: "dns", label: "k", modulusBits: 1024 });
      pids = await pidsNow();
    });
    after(async () => {
      if (usual === undefined) delete process.env["THSM_NATS_SERVER"];
      else process.env["THSM_NATS_SERVER"] = usual;
      await client.close();
      await cluster.close();
    });
    afterEach(async () => {
      for (const connection of open.splice(0)) await connection.close();
      await expectSigning();
      expect(await pidsNow()).to.deep.equal(pids);
    });

    /** A second connection with a member's own login. */
    async function login(folder: string, name: string): Promise<NatsConnection> {
      const { servers } = await readCluster(join(cluster.dir, "provisioner/cluster.toml"));
      const loginFile = join(cluster.dir, folder, "login.nk");
      const options = { servers, name, loginFile, log: silentLogger, timeoutMs: 10_000 };
      const connection = await connectBus(options);
      open.push(connection);
      return connection;
    }

    async function expectSigning(): Promise<void> {
      const text = Buffer.from(`text ${++texts}`);
      const data = createHash("sha256").update(text).digest();
      const session = await client.openSession("dns", "attacked");
      const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
      const signature = await session.sign(input, { timeoutMs: 20_000 });
      expect(verify("sha256", text, publicKeyOf(key), signature)).to.equal(true);
      await session.close();
    }

    /** Requests that nodes have given shares for. */
    async function answered(): Promise<Set<unknown>> {
      const shares = (await readHistory(cluster)).map(bodyOf).filter((body) => "shares" in body);
      return new Set(shares.map(({ request }) => request));
    }

    it("a reply subject puts the server's acknowledgement in a node's place: nobody takes it for an answer", async () => {
      const connection = await login("client", "c1");
      const [session, rid] = [randomId(), randomId()];
      const asked = formatSubject({ kind: "request", client: "c1", session, rid });
      const planted = formatSubject({ kind: "share", node: "n2", client: "c1", session, rid });
      connection.publish(asked, "{}", { reply: planted });
      const auditor = await login("auditor", "auditor");
      const reader = new StreamReader(auditor);
      await until("it is planted", async () => (await reader.lastSeq("THSM_SHARE", planted)) > 0);
      const entry = await reader.at("THSM_SHARE", await reader.lastSeq("THSM_SHARE", planted));
      // It carries no signature: for every reader it is junk, whatever its subject says.
      expect(entry).to.have.nested.property("junk.code", "ERR_INVALID_SIGNATURE");
    });

    it("a node's pull and a client's direct get put stored messages elsewhere: they count nowhere", async () => {
      const before = await answered();
      const own = (await readHistory(cluster)).find(({ stream }) => stream === "THSM_REQ");
      if (own === undefined) throw new Error("no request");
      const [, , , , session = ""] = own.subject.split(".");
      const asClient = await login("client", "c1");
      const places = [
        `thsm.v1.stored.req.c1.${session}.${randomId()}`,
        formatSubject({ kind: "share", node: "n3", client: "c1", session, rid: randomId() }),
        formatSubject({ kind: "request", client: "c1", session, rid: randomId() }),
        `thsm.v1.key.${"a".repeat(32)}`,
        "thsm.v1.audit.node.n1",
      ];
      for (const reply of places) {
        asClient.publish(`$JS.API.DIRECT.GET.THSM_REQ.${own.subject}`, "", { reply });
      }
      const asNode = await login("nodes/n5", "n5");
      const pull = JSON.stringify({ batch: 1, expires: 3_000_000_000 });
      for (const reply of places) {
        asNode.publish("$JS.API.CONSUMER.MSG.NEXT.THSM_REQ.node-n5", pull, { reply });
      }
      await Promise.all([asClient.flush(), asNode.flush()]);
      await expectSigning();
      const history = await readHistory(cluster);
      const real = new Set(
        history.filter(({ stream }) => stream === "THSM_REQ").map(({ hash }) => hash),
      );
      const now = await answered();
      for (const request of now) expect(real).to.include(request);
      expect(now.size).to.be.above(before.size);
    });

    it("a message id that was taken first does not keep a member's message out: nobody can know it", async () => {
      const connection = await login("client", "c1");
      const before = (await readHistory(cluster)).filter(({ stream }) => stream === "THSM_REQ");
      // All ids that were ever seen, taken for junk of the same stream.
      for (const { hash } of before) {
        const headers = newHeaders();
        headers.set("Nats-Msg-Id", Buffer.from(hash, "hex").toString("base64url"));
        const subject = formatSubject({
          kind: "request",
          client: "c1",
          session: randomId(),
          rid: randomId(),
        });
        await connection.request(subject, "junk", { headers, timeout: 5000 });
      }
      await expectSigning();
      const after = (await readHistory(cluster)).filter(({ stream }) => stream === "THSM_REQ");
      expect(after.length).to.be.above(before.length);
    });

    it("what a stream refuses by a header or its size is heard by nobody who signs", async () => {
      const connection = await login("client", "c1");
      const before = await answered();
      const real = (await readHistory(cluster)).find(({ stream }) => stream === "THSM_REQ");
      if (real === undefined) throw new Error("no request");
      const tricks: [header: string, value: string][] = [
        ["Nats-Expected-Stream", "NOPE"],
        ["Nats-Expected-Last-Sequence", "99999"],
        ["Nats-Expected-Last-Msg-Id", "none"],
        ["Nats-Msg-Id", Buffer.from(real.hash, "hex").toString("base64url")],
        ["Nats-Rollup", "all"],
      ];
      for (const [header, value] of tricks) {
        const headers = newHeaders();
        headers.set("Thsm-Sig", real.signature);
        headers.set(header, value);
        const answer = await connection.request(real.subject, real.payload, {
          headers,
          timeout: 5000,
        });
        expect(/error|duplicate/.test(answer.string()), `${header}: ${answer.string()}`).to.equal(
          true,
        );
      }
      await expectSigning();
      // One new request, of the signature just made.
      expect((await answered()).size).to.equal(before.size + 1);
    });

    it("no role makes a consumer, changes a stream, or reaches another account", async () => {
      const roles: [folder: string, name: string][] = [
        ["nodes/n1", "n1"],
        ["client", "c1"],
        ["operator", "operator"],
        ["auditor", "auditor"],
        ["provisioner", "provisioner"],
      ];
      const attempts: [subject: string, body: object][] = [
        [
          "CONSUMER.CREATE.THSM_REQ",
          { stream_name: "THSM_REQ", config: { deliver_subject: "thsm.v1.share.n2.x" } },
        ],
        ["CONSUMER.CREATE.THSM_SHARE.x.thsm.v1.share.>", {}],
        ["CONSUMER.DELETE.THSM_REQ.node-n1", {}],
        ["STREAM.UPDATE.THSM_REQ", { name: "THSM_REQ", max_msgs: 1, discard: "old" }],
        ["STREAM.PURGE.THSM_AUDIT", {}],
        ["STREAM.DELETE.THSM_KEY", {}],
        ["STREAM.MSG.DELETE.THSM_REQ", { seq: 1 }],
        ["STREAM.RESTORE.THSM_REQ", {}],
        ["ACCOUNT.PURGE.THSM", {}],
        ["SERVER.REMOVE", {}],
      ];
      const before = (await readHistory(cluster)).length;
      for (const [folder, name] of roles) {
        const connection = await login(folder, name);
        for (const [subject, body] of attempts) {
          const outcome = await connection
            .request(`$JS.API.${subject}`, JSON.stringify(body), { timeout: 5000 })
            .then((answer) => answer.string(), String);
          expect(outcome, `${name}: ${subject}`).to.match(/permissions violation/i);
        }
      }
      expect((await readHistory(cluster)).length).to.equal(before);
    });

    it("a login signs what a rogue server sends it, and that is worth nothing here", async () => {
      const config = await readCluster(join(cluster.dir, "provisioner/cluster.toml"));
      const loginFile = join(cluster.dir, "client/login.nk");
      // The bytes that a forged request would have to be signed over.
      const subject = formatSubject({
        kind: "request",
        client: "c1",
        session: randomId(),
        rid: randomId(),
      });
      const payload = Buffer.from(JSON.stringify({ version: 1, kind: "sign", client: "c1" }));
      const digest = createHash("sha256").update(payload).digest();
      const wanted = Buffer.concat([Buffer.from(`thsm/v1\0THSM_REQ\0${subject}\0`), digest]);
      const sockets: Socket[] = [];
      const rogue = createServer().listen(0, "127.0.0.1");
      await once(rogue, "listening");
      const address = rogue.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      const signature = new Promise<string>((resolve) => {
        rogue.on("connection", (socket) => {
          sockets.push(socket);
          const nonce = wanted.toString("latin1");
          const info = {
            server_id: "x",
            version: "2.10.27",
            max_payload: 1 << 20,
            headers: true,
            nonce,
          };
          socket.write(`INFO ${JSON.stringify(info)}\r\n`);
          socket.on("error", () => undefined);
          socket.on("data", (chunk: Buffer) => {
            const sig = /"sig":"([^"]+)"/.exec(chunk.toString("latin1"))?.[1];
            if (sig !== undefined) resolve(sig);
          });
        });
      });
      const servers = [`nats://127.0.0.1:${port}`];
      const options = { servers, name: "c1", loginFile, log: silentLogger, timeoutMs: 1500 };
      const [sig] = await Promise.all([
        signature,
        failure(connectBus(options), "ERR_BROKER_UNREACHABLE"),
      ]);
      for (const socket of sockets) socket.destroy();
      rogue.close();
      const member = config.find("client", "c1");
      if (member === undefined) throw new Error("no c1");
      // The login's key has signed something of the server's choice …
      const pair = fromSeed(new TextEncoder().encode((await readFile(loginFile, "utf8")).trim()));
      const bytes = Buffer.from(sig, "base64url");
      expect(pair.verify(Buffer.from(wanted.toString("latin1"), "utf8"), bytes)).to.equal(true);
      // … but who says so in the name of c1 needs another key.
      const text = `ed25519 ${member.identity.keyId} ${toBase64url(bytes)}`;
      const forged = assembleMessage(streamNames.requests, subject, payload, text);
      const refused = await failure(
        Promise.resolve().then(() => verifyMessage(config, forged)),
        "ERR_INVALID_SIGNATURE",
      );
      expect(refused.message).to.include("is not signed by client c1");
    });
  });
}
