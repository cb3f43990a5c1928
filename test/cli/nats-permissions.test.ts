import { execFile } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { jetstream, jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import { createUser } from "@nats-io/nkeys";
import { expect } from "chai";
import { connect, nkeyAuthenticator, type NatsConnection } from "nats";
import { renderNatsConfig } from "../../src/cli/nats-config.js";
import { findNatsServer, findProgram } from "../../src/cli/programs.js";
import { startNatsServer, type NatsServer } from "../support/nats-server.js";
import { exampleInput, keyPairs, members, type Member } from "./example-cluster.js";
import { hears, hearsNot, may, mayNot } from "./permission-table.js";

const kept = { storage: "file", discard: "new", allow_direct: true, max_bytes: 1 << 26 } as const;
const streams: (Partial<StreamConfig> & { name: string })[] = [
  {
    ...kept,
    name: "THSM_REQ",
    subjects: ["thsm.v1.req.>"],
    max_msgs_per_subject: 1,
    discard_new_per_subject: true,
    republish: { src: "thsm.v1.req.>", dest: "thsm.v1.stored.req.>" },
  },
  { ...kept, name: "THSM_SHARE", subjects: ["thsm.v1.share.>"] },
  {
    ...kept,
    name: "THSM_AUDIT",
    subjects: ["thsm.v1.audit.>"],
    republish: { src: "thsm.v1.audit.>", dest: "thsm.v1.stored.audit.>" },
  },
  {
    ...kept,
    name: "THSM_KEY",
    subjects: ["thsm.v1.key.>"],
    republish: { src: "thsm.v1.key.>", dest: "thsm.v1.stored.key.>" },
  },
  { ...kept, name: "THSM_DEAL", subjects: ["thsm.v1.deal.>"], retention: "workqueue" },
];

async function provision(connection: NatsConnection): Promise<void> {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  for (const stream of streams) await manager.streams.add(stream);
  for (const node of ["n1", "n2"]) {
    const common = { durable_name: `node-${node}`, ack_policy: "explicit" } as const;
    await manager.consumers.add("THSM_REQ", { ...common, filter_subject: "thsm.v1.req.>" });
    const filter_subject = `thsm.v1.deal.${node}.>`;
    await manager.consumers.add("THSM_DEAL", { ...common, filter_subject });
  }
}

/** Those subjects for which `allowed` says yes. */
async function those(
  subjects: readonly string[],
  allowed: (subject: string) => Promise<boolean>,
): Promise<string[]> {
  const answers = await Promise.all(subjects.map(allowed));
  return subjects.filter((_, index) => answers[index]);
}

const get = "$JS.API.DIRECT.GET";

const isDenial = (error: unknown): boolean =>
  error instanceof Error && /permissions violation/i.test(error.message);

/** Whether the server takes a publication. No answer, or an answer that complains, is a yes. */
async function publishes(connection: NatsConnection, subject: string): Promise<boolean> {
  try {
    await connection.request(subject, "{}", { timeout: 150 });
    return true;
  } catch (error) {
    return !isDenial(error);
  }
}

async function subscribes(connection: NatsConnection, subject: string): Promise<boolean> {
  const errors: Error[] = [];
  const subscription = connection.subscribe(subject, {
    callback: (error) => {
      if (error !== null) errors.push(error);
    },
  });
  await connection.flush();
  if (errors.length === 0) subscription.unsubscribe();
  expect(errors.every(isDenial), String(errors)).to.equal(true);
  return errors.length === 0;
}

const newer = process.env["THSM_TEST_NATS_SERVER"];
const binaries = [findNatsServer(), ...(newer === undefined ? [] : [newer])];

for (const binary of binaries) {
  describe(`NATS permissions, as enforced by ${binary}`, () => {
    const dir = mkdtempSync(join(tmpdir(), "thsm-nats-"));
    const keys = keyPairs();
    const connections = new Map<Member, NatsConnection>();
    let server: NatsServer;

    const of = (member: Member): NatsConnection => {
      const connection = connections.get(member);
      if (connection === undefined) throw new Error(`${member} is not connected`);
      return connection;
    };

    before(async () => {
      const config = renderNatsConfig(exampleInput(keys, join(dir, "store")));
      server = await startNatsServer({ config, dir, binary });
      for (const member of members) {
        const connection = await connect({
          servers: server.url,
          authenticator: nkeyAuthenticator(keys[member].getSeed()),
          inboxPrefix: `_INBOX_${member}`,
          reconnect: false,
        });
        connections.set(member, connection);
      }
      await provision(of("provisioner"));
    });

    after(async () => {
      await Promise.all([...connections.values()].map((connection) => connection.close()));
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    });

    for (const member of members) {
      it(`lets ${member} say what its role needs, and nothing else`, async () => {
        const subjects = [...may[member], ...mayNot[member]];
        const said = await those(subjects, (subject) => publishes(of(member), subject));
        expect(said).to.deep.equal(may[member]);
      });

      it(`lets ${member} hear what its role needs, and nothing else`, async () => {
        const subjects = [...hears[member], ...hearsNot[member]];
        const heard = await those(subjects, (subject) => subscribes(of(member), subject));
        expect(heard).to.deep.equal(hears[member]);
      });
    }

    it("refuses who has no key, or one that nobody knows", async () => {
      const attempts = [{}, { authenticator: nkeyAuthenticator(createUser().getSeed()) }];
      for (const attempt of attempts) {
        const failure = await connect({ servers: server.url, reconnect: false, ...attempt }).then(
          () => "connected",
          String,
        );
        expect(failure).to.match(/authorization violation/i);
      }
    });

    it("finds a member's own newest message by its own prefix", async () => {
      for (const rid of ["r1", "r2"]) {
        await jetstream(of("n1")).publish(`thsm.v1.share.n1.alice.s2.${rid}`, rid);
      }
      await jetstream(of("n2")).publish("thsm.v1.share.n2.bob.s2.r3", "r3");
      const newest = await of("n1").request(`${get}.THSM_SHARE.thsm.v1.share.n1.>`);
      expect(newest.headers?.last("Nats-Subject")).to.equal("thsm.v1.share.n1.alice.s2.r2");
      const mine = await of("alice").request(`${get}.THSM_SHARE.thsm.v1.share.*.alice.>`);
      expect(mine.headers?.last("Nats-Subject")).to.equal("thsm.v1.share.n1.alice.s2.r2");
    });

    it("lets a reply subject through, so that the newest message may be anybody's", async () => {
      // A fact about servers, not a wish: readers must verify signatures and be ready for this.
      const planted = "thsm.v1.share.n1.alice.s3.planted";
      of("alice").publish("thsm.v1.req.alice.s3.r1", "asked", { reply: planted });
      const newest = `${get}.THSM_SHARE.thsm.v1.share.n1.alice.s3.>`;
      let answer = await of("n1").request(newest);
      while (answer.headers?.code === 404) answer = await of("n1").request(newest);
      expect(answer.headers?.last("Nats-Subject")).to.equal(planted);
      expect(answer.json()).to.include({ stream: "THSM_REQ" });
    });

    it("cannot be talked into another's messages by the body of a direct get", async () => {
      for (const body of [{ seq: 1 }, { last_by_subj: "thsm.v1.share.n2.>" }]) {
        const subject = `${get}.THSM_SHARE.thsm.v1.share.n1.>`;
        const answer = await of("n1").request(subject, JSON.stringify(body));
        expect(answer.headers?.code).to.equal(408);
      }
    });

    it("shows an auditor everything that is said, except sealed dealings", async () => {
      const seen: string[] = [];
      of("aud").subscribe("thsm.v1.>", {
        callback: (_, message) => {
          seen.push(message.subject);
        },
      });
      await of("aud").flush();
      await jetstream(of("alice")).publish("thsm.v1.deal.n1.k2", "sealed");
      await jetstream(of("alice")).publish("thsm.v1.req.alice.s1.r9", "asked");
      await of("aud").flush();
      expect(seen).to.include.members([
        "thsm.v1.req.alice.s1.r9",
        "thsm.v1.stored.req.alice.s1.r9",
      ]);
      expect(seen).not.to.include("thsm.v1.deal.n1.k2");
    });

    const cli = findProgram("nats");
    // Only where the nats command line is: bin/setup --with-nats-cli builds it.
    if (cli !== undefined) {
      it("serves an auditor's nats command line", async () => {
        const seed = join(dir, "aud.nk");
        await writeFile(seed, keys.aud.getSeed(), { mode: 0o600 });
        const login = ["--server", server.url, "--nkey", seed, "--inbox-prefix", "_INBOX_aud"];
        const nats = async (...args: string[]): Promise<string> =>
          (await promisify(execFile)(cli, [...login, ...args])).stdout;
        await jetstream(of("alice")).publish("thsm.v1.req.alice.cli.r1", "from alice");

        expect(await nats("stream", "ls")).to.match(/THSM_REQ.*THSM_SHARE|THSM_SHARE.*THSM_REQ/s);
        expect(await nats("stream", "info", "THSM_KEY")).to.include("thsm.v1.stored.key.>");
        expect(await nats("stream", "get", "THSM_REQ", "1")).to.include("Item: THSM_REQ#1");
        const byName = await nats("stream", "get", "THSM_REQ", "-S", "thsm.v1.req.alice.cli.r1");
        expect(byName).to.include("from alice");
        expect(await nats("stream", "subjects", "THSM_REQ")).to.include("thsm.v1.req.alice.cli.r1");
        expect(await nats("consumer", "report", "THSM_REQ")).to.include("node-n1");

        const heard = nats("sub", "thsm.v1.>", "--count", "1");
        const beats = setInterval(() => of("n1").publish("thsm.v1.beat.n1", "alive"), 50);
        expect(await heard.finally(() => clearInterval(beats))).to.include("thsm.v1.beat.n1");
      });
    }

    it("lets the archiver mirror all that is kept into the account AUDIT", async () => {
      const manager = await jetstreamManager(of("arch"));
      const external = { api: "THSMJS.API", deliver: "thsm-mirror" };
      for (const name of ["THSM_REQ", "THSM_SHARE", "THSM_AUDIT", "THSM_KEY"]) {
        await manager.streams.add({ ...kept, name, mirror: { name, external } });
      }
      await jetstream(of("alice")).publish("thsm.v1.req.alice.s1.mirrored", "asked");
      const messages = await (await jetstream(of("arch")).consumers.get("THSM_REQ")).consume();
      const seen: string[] = [];
      for await (const message of messages) {
        seen.push(message.subject);
        if (message.subject.endsWith(".mirrored")) break;
      }
      expect(seen.at(-1)).to.equal("thsm.v1.req.alice.s1.mirrored");
      for (const name of ["THSM_SHARE", "THSM_AUDIT", "THSM_KEY"]) {
        while ((await manager.streams.info(name)).state.messages === 0) await sleep(20);
      }
    });
  });
}
