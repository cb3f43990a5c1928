/** @module Bad clients and a bad node against real ones: each refused by its code, nobody disturbed. */
import { expect } from "chai";
import { createHash, randomBytes, verify } from "node:crypto";
import { join } from "node:path";
import { headers as newHeaders, type NatsConnection } from "nats";
import type { HsmClient, KeyInfo } from "../../src/client/index.js";
import { HsmError } from "../../src/errors.js";
import { readCluster } from "../../src/identity/cluster.js";
import { toBase64url } from "../../src/identity/encoding.js";
import { readIdentityFile } from "../../src/identity/identity-file.js";
import type { IdentityKey } from "../../src/identity/identity-key.js";
import { silentLogger, type Logger } from "../../src/log.js";
import { connectBus } from "../../src/streams/connection.js";
import {
  chainStart,
  messageHeaders,
  signMessage,
  type StoredMessage,
} from "../../src/streams/envelope.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader } from "../../src/streams/read.js";
import type { SignRequest } from "../../src/streams/requests.js";
import { formatSubject, streamNames } from "../../src/streams/subjects.js";
import { rejection } from "../node/eventually.js";
import { TestCluster } from "./cluster.js";
import { bodyOf, readHistory } from "./history.js";
import { alter, Liar, type AnswerBody, type Lie } from "./liar.js";
import { addSecondClient } from "./second-client.js";
import { publicKeyOf } from "./sign-loop.js";
import { until } from "./until.js";

const nodes = ["n1", "n2", "n3", "n4", "n5"];
const randomId = (): string => toBase64url(randomBytes(16));
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

describe("bad members", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let key: KeyInfo;
  let pids: (number | undefined)[];
  const pidsNow = (): Promise<(number | undefined)[]> =>
    Promise.all(nodes.map((name) => cluster.processes.find(name)));

  before(async () => {
    cluster = await TestCluster.start();
    await cluster.down();
    await addSecondClient(cluster);
    await cluster.up();
    key = await cluster.makeKey("k", 1024);
    pids = await pidsNow();
  });
  after(() => cluster.close());

  describe("a client", () => {
    let connection: NatsConnection;
    let reader: StreamReader;
    let publisher: Publisher;
    let identity: IdentityKey;
    const session = randomId();
    let requests = 0;

    before(async () => {
      const at = join(cluster.dir, "client2");
      const { servers } = await readCluster(join(cluster.dir, "client/cluster.toml"));
      identity = (await readIdentityFile(join(at, "identity.json"))).openUnprotected();
      const loginFile = join(at, "login.nk");
      const log = silentLogger;
      connection = await connectBus({ servers, name: "c2", loginFile, log, timeoutMs: 5000 });
      reader = new StreamReader(connection);
      publisher = new Publisher(connection, reader, "c2");
      // Even a bad client would say who it is.
      const subject = formatSubject({ kind: "client-audit", client: "c2", session });
      const opened = { version: 2, type: "session-opened", client: "c2", session, token: "other" };
      const time = new Date().toISOString();
      const body = { ...opened, application: "bad", time, n: 1, prev: chainStart };
      await publisher.publish(signMessage(identity, streamNames.audit, subject, body));
    });
    after(async () => {
      publisher.close();
      await connection.close();
    });

    function request(changes: Partial<SignRequest> = {}): SignRequest {
      return {
        version: 1,
        kind: "sign",
        client: "c2",
        session,
        seq: ++requests,
        rid: randomId(),
        key: key.keyId,
        epoch: 0,
        algorithm: "rsa",
        scheme: "shoup",
        parties: [1, 2, 3],
        encoding: "pkcs1v15",
        hash: "sha256",
        inputs: [digest("mine").toString("hex")],
        expires: new Date(Date.now() + 60_000).toISOString(),
        attempt: 1,
        ...changes,
      };
    }
    const subjectOf = ({ rid }: Pick<SignRequest, "rid">): string =>
      formatSubject({ kind: "request", client: "c2", session, rid });
    const sign = (body: SignRequest): ReturnType<typeof signMessage> =>
      signMessage(identity, streamNames.requests, subjectOf(body), body);

    async function answerOf(
      node: string,
      { rid }: SignRequest,
    ): Promise<StoredMessage | undefined> {
      const subject = formatSubject({ kind: "share", node, client: "c2", session, rid });
      return await reader.last(streamNames.shares, subject);
    }

    /** Sends a request, and waits until all three nodes have said the same. */
    async function refusal(body: SignRequest): Promise<string> {
      await publisher.publish(sign(body));
      const codes = new Set<unknown>();
      for (const node of ["n1", "n2", "n3"]) {
        await until(`${node} answers`, async () => (await answerOf(node, body)) !== undefined);
        const answer = await answerOf(node, body);
        codes.add(answer === undefined ? "" : bodyOf(answer)["code"]);
        expect(answer === undefined ? "" : bodyOf(answer)["shares"]).to.equal(undefined);
      }
      return [...codes].join();
    }

    it("gets nothing signed with another client's key", async () => {
      expect(await refusal(request())).to.equal("ERR_UNKNOWN_KEY");
      expect(await refusal(request({ kind: "explain" }))).to.equal("ERR_UNKNOWN_KEY");
      expect(await refusal(request({ kind: "test" }))).to.equal("ERR_UNKNOWN_KEY");
    });

    it("gets nothing by a request that has expired, or lives too long", async () => {
      for (const ms of [-1, 10 * 60_000]) {
        const expires = new Date(Date.now() + ms).toISOString();
        expect(await refusal(request({ expires }))).to.equal("ERR_EXPIRED");
      }
    });

    it("cannot speak for another client", async () => {
      const body = request({ client: "c1" });
      const subject = formatSubject({ kind: "request", client: "c1", session, rid: body.rid });
      const message = signMessage(identity, streamNames.requests, subject, body);
      const refused = await rejection(publisher.publish(message, { timeoutMs: 1000 }), HsmError);
      expect(refused.code).to.equal("ERR_BROKER");
    });

    it("gets no answer to what is on no stream, though others have seen it", async () => {
      const body = request();
      const message = sign(body);
      const headers = messageHeaders(message);
      headers.set("Nats-Expected-Last-Sequence", "4000000000");
      const reply = await connection.request(message.subject, message.payload, {
        headers,
        timeout: 5000,
      });
      expect(reply.json()).to.have.nested.property("error.err_code", 10071);
      requests--;
      // Each of them has read this one after it had the chance to answer that one.
      expect(await refusal(request())).to.equal("ERR_UNKNOWN_KEY");
      for (const node of nodes) expect(await answerOf(node, body)).to.equal(undefined);
      expect(await reader.last(streamNames.requests, message.subject)).to.equal(undefined);
    });

    it("disturbs nobody by junk, forgeries and stolen messages; all is counted", async () => {
      const put = async (
        payload: Uint8Array | string,
        signature: string,
        body = request(),
      ): Promise<Record<string, unknown>> => {
        const headers = newHeaders();
        if (signature !== "") headers.set("Thsm-Sig", signature);
        const options = { headers, timeout: 5000 };
        return (await connection.request(subjectOf(body), payload, options)).json();
      };
      const right = sign(request());
      const history = await readHistory(cluster);
      const foreign = history.find(({ stream }) => stream === "THSM_REQ");
      await put("", "");
      await put("{}", "ed25519 nonsense");
      await put(right.payload.slice(0, 200), right.signature);
      await put(randomBytes(3000), right.signature);
      await put(`{"x":"${"y".repeat(60_000)}"}`, right.signature);
      await put(foreign?.payload ?? "", foreign?.signature ?? "");
      const forged = request();
      await put(JSON.stringify(forged), right.signature, forged);
      const unsigned = request();
      const stranger = signMessage(
        (await readIdentityFile(join(cluster.dir, "operator/identity.json"))).openUnprotected(),
        streamNames.requests,
        subjectOf(unsigned),
        unsigned,
      );
      await put(stranger.payload, stranger.signature, unsigned);
      const unknown = request({ key: "f".repeat(32) });
      await publisher.publish(sign(unknown));
      // More than the stream takes.
      const refused = await put("z".repeat(70_000), right.signature);
      expect(refused).to.have.nested.property("error.err_code", 10054);

      expect(await refusal(request())).to.equal("ERR_UNKNOWN_KEY");
      expect(await pidsNow()).to.deep.equal(pids);
      await cluster.processes.stop("n1");
      const told = (await readHistory(cluster)).filter((one) => bodyOf(one)["type"] === "ignored");
      const counts = told.flatMap((one) => bodyOf(one)["counts"]).join(" ");
      expect(counts)
        .to.match(/ERR_INVALID_MESSAGE \d/)
        .and.to.match(/ERR_INVALID_SIGNATURE \d/);
      expect(counts)
        .to.match(/ERR_UNKNOWN_SENDER 1/)
        .and.to.match(/ERR_UNKNOWN_KEY 1/);
      await cluster.startNode("n1");
    });
  });

  describe("a node", () => {
    let liar: Liar;
    const events: Record<string, unknown>[] = [];
    const keep = (facts: object, event: string): void => void events.push({ event, ...facts });
    const log: Logger = { debug: keep, info: keep, warn: keep, error: keep, child: () => log };

    before(async () => {
      await cluster.processes.stop("n2");
      liar = await Liar.start(cluster, key);
    });
    after(() => liar.close());

    const accusation = (): Record<string, unknown> | undefined =>
      events.find(({ event }) => event === "culprit");
    const isSeen = (what: RegExp) => (): boolean => what.test(JSON.stringify(events));

    /** Signs until n2's lie has shown itself; every signature must be right. */
    async function signWith(lie: Lie, isShown: () => boolean): Promise<void> {
      events.length = 0;
      // What it did before is forgiven, so that it is asked again.
      const cleared = await cluster.thsm("node", "clear", "n2");
      expect(cleared.code, cleared.text).to.equal(0);
      liar.lie = lie;
      liar.answered = 0;
      // A client of its own, which trusts n2 as it trusts all.
      const client: HsmClient = await cluster.client(log);
      try {
        const session = await client.openSession("dns", "victim");
        for (let i = 0; liar.answered === 0 || !isShown(); i++) {
          expect(i, JSON.stringify(events)).to.be.lessThan(200);
          const text = `text ${i}`;
          const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256" } as const;
          const signature = await session.sign({ ...input, data: digest(text) });
          expect(verify("sha256", Buffer.from(text), publicKeyOf(key), signature)).to.equal(true);
        }
        await session.close();
      } finally {
        await client.close();
      }
    }

    const share = (value: bigint): string =>
      toBase64url(Buffer.from(value.toString(16).padStart(256, "0"), "hex"));
    const instead =
      (change: (honest: AnswerBody, group: Liar["group"]) => Partial<AnswerBody>): Lie =>
      (who, _, honest) =>
        who.say({ ...honest, ...change(honest, who.group) });

    it("that is honest is not accused", async () => {
      await signWith(
        (who, _, honest) => who.say(honest),
        () => true,
      );
      expect(accusation()).to.equal(undefined);
    });

    const lies: [what: string, lie: Lie][] = [
      ["0", instead(() => ({ shares: [share(0n)] }))],
      ["1", instead(() => ({ shares: [share(1n)] }))],
      ["the modulus", instead((_, group) => ({ shares: [share(group.modulus)] }))],
      ["the modulus less 1", instead((_, group) => ({ shares: [share(group.modulus - 1n)] }))],
      ["another number", instead(() => ({ shares: [share(4711n)] }))],
      ["too many shares", instead(({ shares = [] }) => ({ shares: [...shares, ...shares] }))],
    ];
    for (const [what, lie] of lies) {
      it(`that answers with ${what} is named with the evidence, and the signature is right`, async () => {
        await signWith(lie, () => accusation() !== undefined);
        const { node, evidence } = accusation() ?? {};
        expect(node).to.equal("n2");
        expect(liar.said).to.include(evidence);
        const history = await readHistory(cluster);
        const shown = (body: Record<string, unknown>): boolean =>
          Array.isArray(body["evidence"]) && body["evidence"].includes(evidence);
        const bodies = history.map(bodyOf);
        const result = bodies.find((body) => body["type"] === "result" && shown(body));
        expect(result).to.deep.include({ culprits: ["n2"] });
        const blame = bodies.find((body) => body["type"] === "misbehaviour" && shown(body));
        expect(blame).to.include({ node: "n2", verdict: "culprit", client: "c1" });
        expect(result?.["quorum"]).to.be.an("array").that.does.not.include(2);
        expect(history.some(({ hash }) => hash === evidence)).to.equal(true);
      });
    }

    /** Not accused: nothing that anybody else would believe. Refused, counted in the log, and left out. */
    const junk: [what: string, expected: RegExp, lie: Lie][] = [
      ["party 0", /"code":"ERR_INVALID_MESSAGE"/, instead(() => ({ party: 0 }))],
      ["party 6 of 5", /answer to another question/, instead(() => ({ party: 6 }))],
      ["the party of another node", /answer to another question/, instead(() => ({ party: 3 }))],
      [
        "the wrong request",
        /answer to another question/,
        instead(() => ({ request: "0".repeat(64) })),
      ],
      [
        "half a message",
        /"code":"ERR_INVALID_MESSAGE"/,
        (who, _, honest) => {
          const whole = who.sign(honest, honest);
          who.put(alter(whole, whole.payload.slice(0, 100)));
        },
      ],
      [
        "a message of half a megabyte",
        /"code":"ERR_INVALID_MESSAGE"/,
        (who, _, honest) => who.put(who.sign(honest, { ...honest, shares: ["A".repeat(500_000)] })),
      ],
      [
        "the signature of another message",
        /"code":"ERR_INVALID_SIGNATURE"/,
        (who, _, honest) => {
          const other = who.sign(honest, { ...honest, n: 1, prev: "1".repeat(64) });
          const payload = Buffer.from(JSON.stringify({ ...honest, n: 1, prev: "2".repeat(64) }));
          who.put(alter(other, payload));
        },
      ],
      [
        "an old answer of its own",
        /"code":"ERR_INVALID_MESSAGE"/,
        (who, _, honest) => {
          const { first } = who;
          const { subject } = who.sign(honest, honest);
          if (first !== undefined) who.put(alter(first, first.payload, subject));
        },
      ],
    ];
    for (const [what, expected, lie] of junk) {
      it(`that answers with ${what} is left out, and the signature is right`, async () => {
        await signWith(lie, isSeen(expected));
        expect(accusation()).to.equal(undefined);
      });
    }

    it("that answers twice is counted once", async () => {
      await signWith(
        (who, _, honest) => {
          who.say({ ...honest, shares: [share(5n)] });
          who.say({ ...honest, shares: [share(7n)] });
          who.say(honest);
        },
        isSeen(/"culprit"/),
      );
      expect(events.filter(({ event }) => event === "culprit")).to.have.length(1);
    });

    it("that sends its share past the stream is found by the audit, which names it", async () => {
      const headers = { "Nats-Expected-Last-Sequence": "4000000000" };
      await signWith(
        (who, _, honest) => who.say(honest, headers),
        isSeen(/"event":"(suspect|culprit)"/),
      );
      const { stdout } = await cluster.thsm("--json", "audit", "verify");
      const { findings } = JSON.parse(stdout.toString("utf8")) as {
        findings: { code: string; node?: string }[];
      };
      const unstored = findings.filter(({ code }) => code === "AUDIT_RESULT_WITHOUT_QUORUM");
      expect(unstored.map(({ node }) => node)).to.include("n2");
    });

    it("is named by the audit too, and nobody else of the nodes", async () => {
      const { code, stdout } = await cluster.thsm("--json", "audit", "verify");
      expect(code).to.equal(3);
      const { findings } = JSON.parse(stdout.toString("utf8")) as {
        findings: { code: string; severity: string; node?: string; text: string }[];
      };
      const ofNodes = findings.filter(
        (one) => one.severity === "finding" && one.node !== undefined,
      );
      expect(new Set(ofNodes.map(({ node }) => node))).to.deep.equal(new Set(["n2"]));
      const codes = new Set(ofNodes.map((one) => one.code));
      for (const wanted of [
        "AUDIT_WRONG_SHARE",
        "AUDIT_SHARE_WRONG_PARTY",
        "AUDIT_SHARE_DUPLICATE",
      ]) {
        expect(codes).to.include(wanted);
      }
      expect(codes).to.not.include("AUDIT_RESULT_FALSE_BLAME");
    });

    it("does not go on as if nothing were when the real one comes back", async () => {
      await liar.close();
      await cluster.startNode("n2").catch(() => undefined);
      await until("n2 has noticed", async () =>
        /ERR_JOURNAL|ERR_AUDIT_MISMATCH/.test(await cluster.log("n2")),
      );
      await until("n2 has ended", async () => (await cluster.processes.find("n2")) === undefined);
      expect((await pidsNow()).filter((pid) => pid !== undefined)).to.have.length(4);
    });
  });
});
