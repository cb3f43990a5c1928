/** @module Members without files and servers, for the tests of single parts. */
import { createHash } from "node:crypto";
import { Cluster } from "../../src/identity/cluster.js";
import { IdentityKey } from "../../src/identity/identity-key.js";
import { signMessage, type StoredMessage } from "../../src/streams/envelope.js";
import type { StreamName } from "../../src/streams/subjects.js";

const names = ["n1", "n2", "n3", "alice", "bob", "eve"] as const;
export type MemberName = (typeof names)[number];

export interface MemoryCluster {
  readonly cluster: Cluster;
  readonly keys: Readonly<Record<MemberName, IdentityKey>>;
}

/** alice and bob share the token "zones"; eve has "other" for herself. The same on every call. */
export function memoryCluster(): MemoryCluster {
  const keys = Object.fromEntries(
    names.map((name) => [name, new IdentityKey(createHash("sha256").update(name).digest())]),
  ) as Record<MemberName, IdentityKey>;
  const entries = (wanted: readonly MemberName[]): object[] =>
    wanted.map((name) => ({
      name,
      identity: keys[name].publicKey.text,
      login: `U${name
        .toUpperCase()
        .replace(/[^A-Z2-7]/g, "A")
        .padEnd(55, "A")}`,
    }));
  const cluster = new Cluster(
    {
      version: 1,
      name: "test",
      servers: ["nats://127.0.0.1:4222"],
      node: entries(["n1", "n2", "n3"]),
      client: entries(["alice", "bob", "eve"]),
      token: [
        { name: "zones", clients: ["alice", "bob"] },
        { name: "other", clients: ["eve"] },
      ],
    },
    "/",
  );
  return { cluster, keys };
}

let stored = 0;

/** A message as if a stream had it. */
export function storedMessage(
  key: IdentityKey,
  stream: StreamName,
  subject: string,
  body: object,
  time: string = new Date().toISOString(),
): StoredMessage {
  return { ...signMessage(key, stream, subject, body), seq: ++stored, time };
}
