/** @module Two nodes, two clients and one of every other role, for the tests of this folder. */
import { createUser, type KeyPair } from "@nats-io/nkeys";
import type { NatsConfigInput } from "../../src/cli/nats-config.js";

export const members = ["provisioner", "n1", "n2", "alice", "bob", "op", "aud", "arch"] as const;
export type Member = (typeof members)[number];

export function keyPairs(): Record<Member, KeyPair> {
  return Object.fromEntries(members.map((name) => [name, createUser()])) as Record<Member, KeyPair>;
}

export function exampleInput(keys: Record<Member, KeyPair>, storeDir: string): NatsConfigInput {
  const users = (...names: Member[]) =>
    names.map((name) => ({ name, nkey: keys[name].getPublicKey() }));
  return {
    serverName: "test",
    host: "127.0.0.1",
    port: -1,
    storeDir,
    nodes: users("n1", "n2"),
    clients: users("alice", "bob"),
    operators: users("op"),
    auditors: users("aud"),
    provisioner: keys.provisioner.getPublicKey(),
    archivers: users("arch"),
  };
}
