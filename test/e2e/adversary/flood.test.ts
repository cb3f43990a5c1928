/**
 * @module Floods of nonsense and of almost-sense, on every subject and on the daemon's socket, against real
 * processes: none of them ends, none grows, no state changes, and the next signature is right.
 * 200,000 of each with SLOW=1; THSM_SEED repeats a run.
 */
import { expect } from "chai";
import { createHash, verify } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { connect as connectSocket, type Socket } from "node:net";
import { join } from "node:path";
import { createUser, fromSeed } from "@nats-io/nkeys";
import { connect, headers as newHeaders, nkeyAuthenticator, type NatsConnection } from "nats";
import type { HsmClient, KeyInfo } from "../../../src/client/index.js";
import { readCluster } from "../../../src/identity/cluster.js";
import { FrameReader } from "../../../src/pkcs11-bridge/rpc/framing.js";
import { succeed } from "../../support/run.js";
import { Chance, seed } from "../../support/random.js";
import { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import { Recorder } from "../recorder.js";
import { publicKeyOf } from "../sign-loop.js";
import { until } from "../until.js";

const count = process.env["SLOW"] === "1" ? 200_000 : 2000;
const nodes = ["n1", "n2", "n3", "n4", "n5"];
const processes = [...nodes, "pkcs11d", "nats"];
/** Far above what a healthy process needs, far below what a flood would make of one that keeps it. */
const mostMebibytes = 600;

/** A message that was seen on the bus. */
interface Seen {
  readonly subject: string;
  readonly reply: string;
  readonly signature: string;
  readonly payload: Buffer;
}

describe(`floods (THSM_SEED=${seed})`, function () {
  this.timeout(1_800_000);
  let cluster: TestCluster;
  let client: HsmClient;
  let key: KeyInfo;
  let pids: (number | undefined)[];
  /** What is usual on this bus, to be changed by the floods. */
  let seen: Seen[];
  let asked = 0;
  const intruder = createUser();

  before(async () => {
    cluster = await TestCluster.start();
    const file = join(cluster.dir, "nats/server.conf");
    const text = await readFile(file, "utf8");
    const user = `      { nkey: "${intruder.getPublicKey()}" }\n`;
    await cluster.down();
    await writeFile(file, text.replace("      # provisioner\n", `${user}      # provisioner\n`));
    await cluster.up();
    client = await cluster.client();
    key = await client.generateKey({ token: "dns", label: "k", modulusBits: 1024 });
    pids = await pidsNow();
    const connection = await login("", "intruder");
    seen = (await overhear(connection)).filter(isAimable);
    await connection.close();
  });
  after(async () => {
    await client.close();
    await cluster.close();
  });

  const pidsNow = (): Promise<(number | undefined)[]> =>
    Promise.all(processes.map((name) => cluster.processes.find(name)));

  async function login(folder: string, name: string): Promise<NatsConnection> {
    const { servers } = await readCluster(join(cluster.dir, "provisioner/cluster.toml"));
    const text =
      folder === ""
        ? undefined
        : (await readFile(join(cluster.dir, folder, "login.nk"), "utf8")).trim();
    const pair = text === undefined ? intruder : fromSeed(new TextEncoder().encode(text));
    return await connect({
      servers: [...servers],
      authenticator: nkeyAuthenticator(pair.getSeed()),
      inboxPrefix: `_INBOX_${name}`,
    });
  }

  async function sign(timeoutMs = 5000): Promise<boolean> {
    const text = Buffer.from(`text ${++asked}`);
    const session = await client.openSession("dns", "flooded");
    try {
      const data = createHash("sha256").update(text).digest();
      const input = { keyId: key.keyId, encoding: "pkcs1v15", hash: "sha256", data } as const;
      const signature = await session.sign(input, { timeoutMs });
      expect(verify("sha256", text, publicKeyOf(key), signature)).to.equal(true);
      return true;
    } catch {
      return false;
    } finally {
      session.close().catch(() => undefined);
    }
  }

  /** What must not change: keys, and the files of their shares. */
  async function state(): Promise<unknown> {
    const shares = await Promise.all(
      nodes.map(async (name) => {
        const directory = join(cluster.dir, "nodes", name, "data/keys");
        const files = (await readdir(directory)).toSorted();
        const contents = await Promise.all(files.map((file) => readFile(join(directory, file))));
        return contents.map((one) => createHash("sha256").update(one).digest("hex"));
      }),
    );
    return {
      shares,
      keys: (await client.keys("dns")).map(({ keyId, state: now }) => [keyId, now]),
    };
  }

  /** Answers of nodes that hold a share, which nobody but this test may cause. */
  async function sharesGiven(): Promise<Set<unknown>> {
    const history = await readHistory(cluster);
    const given = history
      .map(bodyOf)
      .filter(({ shares, n }) => shares !== undefined && n !== undefined);
    return new Set(given.map(({ request }) => request));
  }

  async function expectUnharmed(before: unknown): Promise<void> {
    await until("the next signature", () => sign(), 600_000);
    const now = await pidsNow();
    for (const [i, name] of processes.entries()) {
      const why = now[i] === pids[i] ? "" : await cluster.processes.logEnd(name);
      expect(now[i], `${name} has ended: ${why}`).to.equal(pids[i]);
    }
    expect(await state()).to.deep.equal(before);
    for (const [i, pid] of pids.entries()) {
      const status = await readFile(`/proc/${pid}/status`, "utf8");
      const mebibytes = Number(/VmHWM:\s*(\d+)/.exec(status)?.[1]) / 1024;
      expect(mebibytes, `MiB of ${processes[i]} at most`).to.be.below(mostMebibytes);
      if (process.env["SLOW"] === "1")
        console.log(`      ${processes[i]}: ${Math.round(mebibytes)} MiB at most`);
    }
  }

  /** Listens to everything while all that is usual happens. */
  async function overhear(connection: NatsConnection): Promise<Seen[]> {
    const heard: Seen[] = [];
    connection.subscribe(">", {
      callback: (_, { subject, reply = "", headers, data }) => {
        const signature = headers?.get("Thsm-Sig") ?? "";
        heard.push({ subject, reply, signature, payload: Buffer.from(data) });
      },
    });
    await connection.flush();
    const other = await client.generateKey({ token: "dns", label: "gone", modulusBits: 1024 });
    await client.destroyKey(other.keyId);
    for (let i = 0; i < 5; i++) expect(await sign()).to.equal(true);
    await until(
      "beats",
      () => heard.filter(({ subject }) => subject.includes(".beat.")).length > 5,
    );
    return heard;
  }

  const poison = [
    "Nats-Expected-Last-Sequence",
    "Nats-Msg-Id",
    "Nats-Rollup",
    "Nats-Sequence",
    "Nats-Stream",
  ];

  /** One message of a flood, which looks like a real one more or less. */
  function send(connection: NatsConnection, chance: Chance, to: string): void {
    const model = chance.pick(seen);
    const payload = chance.once(8) ? model.payload : chance.mutated(model.payload);
    const status = chance.once(10) ? chance.pick([100, 404, 408, 409, 503]) : 0;
    const headers = status === 0 ? newHeaders() : newHeaders(status, "No");
    if (!chance.once(6)) {
      const other = chance.once(3) ? chance.pick(seen).signature : model.signature;
      headers.append("Thsm-Sig", other === "" ? "ed25519 x" : other);
    }
    if (chance.once(9)) headers.append("Thsm-Sig", model.signature);
    if (chance.once(7)) headers.append(chance.pick(poison), String(chance.below(99)));
    const isSilent = chance.once(2);
    const reply = chance.once(2) ? chance.pick(seen).subject : chance.pick(seen).reply;
    const isUsable = reply !== "" && !reply.startsWith("$");
    connection.publish(to, payload, { headers, ...(isSilent || !isUsable ? {} : { reply }) });
  }

  function isAimable({ subject }: Pick<Seen, "subject">): boolean {
    // The server's own interface is another attack: with it one deletes streams.
    return !subject.startsWith("$");
  }

  async function flood(
    connection: NatsConnection,
    name: string,
    many: number,
    subjects: readonly string[],
  ): Promise<void> {
    const chance = new Chance(name);
    for (let i = 0; i < many; i++) {
      const subject = chance.pick(subjects);
      const random = chance.bytes(8).toString("hex");
      send(connection, chance, chance.once(4) ? subject : subject.replace(/[^.]+$/, random));
      if (i % 200 === 199) await connection.flush();
    }
    await connection.flush();
  }

  it(`${count} messages of an intruder with all permissions, on every kind of subject`, async () => {
    const connection = await login("", "intruder");
    const before = await state();
    const given = await sharesGiven();
    // As many kinds as there are, each as often as any other.
    const kinds = new Map<string, string>();
    for (const { subject } of seen) {
      kinds.set(subject.split(".").slice(0, 4).join("."), subject);
    }
    for (const text of ["req", "share", "key", "deal", "audit", "beat", "stored.", "_INBOX_"]) {
      expect(
        [...kinds.keys()].some((kind) => kind.includes(text)),
        text,
      ).to.equal(true);
    }
    await flood(connection, "intruder", count, [...kinds.values()]);
    await connection.close();
    const asking = asked;
    await expectUnharmed(before);
    // A signature may take more than one request, when a node is slow to come through the flood.
    const now = await sharesGiven();
    expect(now.size - given.size).to.be.at.most(4 * (asked - asking));
  });

  it("as many messages of each role, where its login lets it", async () => {
    const before = await state();
    const roles: [folder: string, name: string, own: RegExp][] = [
      ["nodes/n5", "n5", /^thsm\.v1\.(share\.n5|audit\.node\.n5|key|beat\.n5)\b/],
      ["client", "c1", /^thsm\.v1\.(req\.c1|audit\.client\.c1|key|deal)\b/],
      ["operator", "operator", /^thsm\.v1\.(key|audit\.operator)\b/],
      ["auditor", "auditor", /./],
      ["provisioner", "provisioner", /./],
    ];
    for (const [folder, name, own] of roles) {
      const one = await login(folder, name);
      const subjects = seen.map(({ subject }) => subject).filter((subject) => own.test(subject));
      await flood(one, name, count / roles.length, subjects);
      await one.close();
    }
    await expectUnharmed(before);
  });

  it("leaves every journal whole", async () => {
    const program = new URL("../../../src/node/main.js", import.meta.url).pathname;
    for (const name of process.env["SLOW"] === "1" ? nodes : ["n1", "n5"]) {
      const config = join(cluster.dir, "nodes", name, "node.toml");
      const { text } = await succeed(process.execPath, [program, "--config", config, "--check"]);
      expect(text).to.match(/journal of \d+ messages good/);
    }
  });

  describe("on the daemon's socket", () => {
    let path: string;
    let frames: Buffer[];

    before(async () => {
      path = join(cluster.dir, "pkcs11d.sock");
      frames = await recordFrames();
    });

    /** What pkcs11-tool and the daemon say to each other; not the login, whose repetition locks the PIN. */
    async function recordFrames(): Promise<Buffer[]> {
      const between = cluster.path("between.sock");
      const recorder = await Recorder.start(between, { path });
      const conf = cluster.path("between.conf");
      const original = await readFile(cluster.env["THSM_PKCS11_CONF"] ?? "", "utf8");
      await writeFile(conf, original.replace(path, between));
      const env = { ...cluster.env, THSM_PKCS11_CONF: conf };
      const pin = ["--token-label", "dns", "--login", "--pin", cluster.pin];
      const use = ["--module", cluster.module, ...pin];
      const input = cluster.path("to-sign");
      await writeFile(input, "text");
      const signing = ["--sign", "-m", "SHA256-RSA-PKCS", "-i", input, "-o", `${input}.sig`];
      await succeed("pkcs11-tool", [...use, ...signing, "--label", "k"], { env });
      await succeed("pkcs11-tool", [...use, "--list-objects"], { env });
      const found = new FrameReader().push(recorder.bytes);
      Recorder.closeAll();
      const logins = new Set([1, 2]);
      const usable = found.filter((one) => one.includes("thsm-p11") || !logins.has(one[4] ?? 0));
      expect(usable.length).to.be.above(10);
      return usable;
    }

    function framed(payload: Buffer, length = payload.length): Buffer {
      const head = Buffer.alloc(4);
      head.writeUInt32BE(length >>> 0);
      return Buffer.concat([head, payload]);
    }

    const open = async (): Promise<Socket> => {
      const socket = connectSocket(path);
      // The daemon closes on nonsense while we still write.
      socket.on("error", () => undefined);
      await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
      return socket;
    };
    const end = (socket: Socket): Promise<unknown> =>
      new Promise((resolve) =>
        socket.closed ? resolve(undefined) : socket.once("close", resolve),
      );

    it(`${count} frames, random, mutated, truncated, too long`, async () => {
      const chance = new Chance("socket");
      const before = await state();
      const hello = frames.find((one) => one.includes("thsm-p11") && one.length > 20);
      if (hello === undefined) throw new Error("no hello among the frames");
      let sent = 0;
      const worker = async (): Promise<void> => {
        while (sent < count) {
          const socket = await open();
          const closed = end(socket);
          socket.resume();
          // Mostly a good hello with an id of its own: the next frame gets further.
          const own = Buffer.from(hello);
          chance.bytes(16).copy(own, 14);
          const pieces = [chance.once(5) ? framed(chance.mutated(hello)) : framed(own)];
          for (let i = chance.below(6); i >= 0; i--) {
            const body = chance.mutated(chance.pick(frames));
            if (body.length > 4 && (body[4] === 1 || body[4] === 2)) body[4] = chance.below(256);
            const length = chance.once(8)
              ? chance.pick([0, 65_537, 2 ** 20 + 1, 2 ** 32 - 1])
              : body.length;
            pieces.push(framed(body, length));
          }
          sent += pieces.length;
          for (const piece of pieces) if (socket.writable) socket.write(piece);
          if (chance.once(2)) socket.end();
          else socket.destroySoon();
          await closed;
        }
      };
      await Promise.all(Array.from({ length: 8 }, worker));
      await expectUnharmed(before);
      expect((await cluster.pkcs11Tool("--list-objects")).code).to.equal(0);
    });

    it("sockets that send a byte now and then, or nothing, or only half, or never read", async () => {
      const chance = new Chance("loris");
      const before = await state();
      const sockets = await Promise.all(Array.from({ length: 40 }, open));
      const closed = Promise.all(sockets.map(end));
      for (const [i, socket] of sockets.entries()) {
        const frame = framed(chance.pick(frames));
        if (i % 4 === 0) continue;
        if (i % 4 === 1) socket.end(frame.subarray(0, chance.below(frame.length)));
        if (i % 4 === 2) socket.write(frame.subarray(0, 1));
        if (i % 4 === 3) {
          const timer = setInterval(() => socket.writable && socket.write(Buffer.of(0)), 1500);
          socket.once("close", () => clearInterval(timer));
        }
        if (i % 3 !== 0) socket.resume();
      }
      // Others are served meanwhile.
      expect((await cluster.pkcs11Tool("--list-objects")).code).to.equal(0);
      for (const socket of sockets) socket.resume();
      await closed;
      await expectUnharmed(before);
    });
  });
});
