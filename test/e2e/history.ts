/** @module A cluster's history as its auditor reads it, and a second cluster that is made to tell it. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { join, relative } from "node:path";
import { expect } from "chai";
import { auditorConfigOf, startNats } from "../../src/cli/dev/cluster.js";
import { openHistory, type OpenHistory } from "../../src/client/index.js";
import { keptStreams } from "../../src/client/audit/sources.js";
import type { VerifyOptions } from "../../src/client/audit/verify.js";
import { readCluster } from "../../src/identity/cluster.js";
import { silentLogger } from "../../src/log.js";
import { connectBus } from "../../src/streams/connection.js";
import { assembleMessage, type StoredMessage } from "../../src/streams/envelope.js";
import { Publisher } from "../../src/streams/publish.js";
import { StreamReader } from "../../src/streams/read.js";
import { auditedSource, type Audited } from "../client/audit/audited.js";
import type { TestCluster } from "./cluster.js";

/** Exports instead of, or before, what the streams hold. */
type Exports = Pick<Parameters<typeof openHistory>[0], "exportDir" | "with">;

/** What the auditor of a cluster's directory reads, for as long as `use` takes. */
export async function withHistory<T>(
  { dir }: Pick<TestCluster, "dir">,
  use: (history: OpenHistory) => Promise<T>,
  exports: Exports = {},
): Promise<T> {
  const history = await openHistory({ configFile: auditorConfigOf(dir), ...exports });
  try {
    return await use(history);
  } finally {
    await history.close();
  }
}

/** What `thsm audit verify` finds, for tests of which the command is not the point: it takes a second to start. */
export function auditOf(
  cluster: Pick<TestCluster, "dir">,
  options: VerifyOptions = {},
  exports: Exports = {},
): Promise<Audited> {
  return withHistory(
    cluster,
    (history) => auditedSource(history.source, history.cluster, options),
    exports,
  );
}

/** Every stored message, in order of streams and of storage. */
export function readHistory(cluster: TestCluster): Promise<StoredMessage[]> {
  return withHistory(cluster, async ({ source }) => {
    const messages: StoredMessage[] = [];
    for (const stream of keptStreams) {
      for await (const entry of source.entries(stream)) {
        // What is no message has no sender either: nothing to look at here.
        if ("message" in entry) messages.push(entry.message);
      }
    }
    return messages;
  });
}

/** A message's body, for tests to look at; nothing when it is no JSON. */
export function bodyOf({ payload }: { readonly payload: Uint8Array }): Record<string, unknown> {
  try {
    return JSON.parse(Buffer.from(payload).toString("utf8")) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/**
 * A cluster's directory with the same members and another nats-server, empty or over a copy of a store, which is
 * left running. Returns the directory.
 */
export async function twin(cluster: TestCluster, name: string, store?: string): Promise<string> {
  const dir = cluster.path(name);
  const left = new Set(["nats/store", "run", "log"]);
  await cp(cluster.dir, dir, {
    recursive: true,
    filter: (from) => !left.has(relative(cluster.dir, from)) && !from.endsWith(".sock"),
  });
  const [oldUrl = ""] = (await readCluster(join(dir, "provisioner/cluster.toml"))).servers;
  const oldPort = new URL(oldUrl).port;
  const port = await freePort();
  const parts = ["provisioner", "auditor", "client"].map((part) => `${part}/cluster.toml`);
  for (const file of ["nats/server.conf", ...parts]) {
    const text = await readFile(join(dir, file), "utf8");
    const moved = text.replaceAll(`:${oldPort}`, `:${port}`).replaceAll(cluster.dir, dir);
    await writeFile(join(dir, file), moved);
  }
  if (store !== undefined) await cp(store, join(dir, "nats/store"), { recursive: true });
  await startNats(
    dir,
    await readCluster(join(dir, "provisioner/cluster.toml")),
    cluster.scratch(name),
  );
  return dir;
}

/** A twin whose streams are given these messages by their senders' logins. */
export async function republish(
  cluster: TestCluster,
  name: string,
  messages: readonly StoredMessage[],
): Promise<string> {
  const dir = await twin(cluster, name);
  const { servers, members } = await readCluster(join(dir, "provisioner/cluster.toml"));
  const publishers = new Map<string, { publisher: Publisher; close: () => Promise<void> }>();
  try {
    for (const message of messages) {
      const author = authorOf(message);
      let open = publishers.get(author);
      if (open === undefined) {
        const { role } = members.find((one) => one.name === author) ?? { role: "node" };
        const folder = role === "client" ? "client" : join("nodes", author);
        const loginFile = join(dir, folder, "login.nk");
        const options = { servers, name: author, loginFile, log: silentLogger, timeoutMs: 5000 };
        const connection = await connectBus(options);
        const publisher = new Publisher(connection, new StreamReader(connection), author);
        open = { publisher, close: () => connection.close() };
        publishers.set(author, open);
      }
      const { stream, subject, payload, signature, seq } = message;
      const copy = assembleMessage(stream, subject, payload, signature);
      expect((await open.publisher.publish(copy)).seq).to.equal(seq);
    }
  } finally {
    for (const { publisher, close } of publishers.values()) {
      publisher.close();
      await close();
    }
  }
  return dir;
}

/** Who may publish it: the subject's member, or the key event's. */
function authorOf(message: StoredMessage): string {
  const [, , kind = "", first = "", second = ""] = message.subject.split(".");
  if (kind === "req" || kind === "share") return first;
  if (kind === "audit") return second;
  const text = Buffer.from(message.payload).toString("utf8");
  return /"node":"([^"]+)"/.exec(text)?.[1] ?? /"client":"([^"]+)"/.exec(text)?.[1] ?? "";
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
