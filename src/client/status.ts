/**
 * @module The state of a cluster, as far as the asking member may see it: who is alive, who is blamed, what
 * room the streams have. Reads only.
 */
import { setTimeout as delay } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { HsmError } from "../errors.js";
import type { Role } from "../identity/cluster.js";
import type { Heartbeat } from "../streams/beats.js";
import { listenForBeats } from "../streams/heartbeats.js";
import type { KeyState } from "../streams/key-life.js";
import { KeyLives } from "../streams/key-lives.js";
import { StreamReader } from "../streams/read.js";
import { nodeConsumer } from "../streams/settings.js";
import { allKeys, formatSubject, streamNames } from "../streams/subjects.js";
import { Ledger, readLedger } from "./blame/ledger.js";
import { compareClocks } from "./clocks.js";
import { openMember, type OpenMember } from "./member.js";

export interface NodeStatus {
  readonly node: string;
  /** Whether a heartbeat was heard while this looked. */
  readonly alive: boolean;
  readonly boot?: string;
  /** Beats since it started: about seconds. */
  readonly beat?: number;
  /** Inputs that wait in the node. */
  readonly queued?: number;
  readonly activeKeys?: number;
  /** Version of its software. */
  readonly software?: string;
  /** Signature shares made since it started, and a second while this looked. */
  readonly signed?: number;
  readonly sharesPerSecond?: number;
  /** Why it refuses to sign anything. */
  readonly halted?: string;
  /** What the node's clock says less ours, the way of the message included. */
  readonly clockMs?: number;
  /** Requests on the stream that it has not taken yet; only operators and auditors see it. */
  readonly lag?: number;
  /** How long its newest answer to this client, or an auditor to any, took from stream to stream. */
  readonly latencyMs?: number;
}

export interface BlameStatus {
  readonly node: string;
  readonly verdict: "culprit" | "suspect";
  readonly code: string;
  readonly text: string;
  readonly time: string;
  readonly by: string;
  /** Hashes of the messages that show it. */
  readonly evidence: readonly string[];
  /** Entry of THSM_AUDIT that carries them. */
  readonly seq: number;
}

export interface StreamStatus {
  readonly stream: string;
  readonly messages: number;
  readonly bytes: number;
  readonly maxBytes: number;
}

export interface ClusterStatus {
  readonly version: 1;
  readonly time: string;
  readonly seenBy: string;
  readonly role: Role;
  readonly server: string;
  readonly nodes: readonly NodeStatus[];
  readonly blames: readonly BlameStatus[];
  /** State → how many keys. */
  readonly keys: Readonly<Record<KeyState, number>>;
  /** Absent for a client, which may not see them. */
  readonly streams?: readonly StreamStatus[];
  /** What somebody should look at. */
  readonly warnings: readonly string[];
  /** What is good to know, and no reason for an alarm. */
  readonly notes: readonly string[];
}

/** A node beats every second. */
const listenMs = 2500;
const alarmShare = 0.8;
/** Far below what nodes allow, and far above what a busy host takes to hear a beat. */
const clockAlarmMs = 5000;
const goodServer = [2, 10, 27] as const;

/** @throws HsmError `ERR_INVALID_CONFIG`, `ERR_BROKER_UNREACHABLE` */
export async function clusterStatus(configFile: string): Promise<ClusterStatus> {
  const member = await openMember(configFile);
  try {
    return await look(member);
  } finally {
    await member.connection.close();
  }
}

async function look(member: OpenMember): Promise<ClusterStatus> {
  const { cluster, connection, name, role } = member;
  const reader = new StreamReader(connection);
  const beats = listen(member);
  const [blames, keys, streams] = await Promise.all([
    blamesOf(member, reader),
    keysOf(member, reader),
    role === "client" ? undefined : streamsOf(member),
    delay(listenMs),
  ]);
  const nodes = await Promise.all(
    cluster.nodes.map(async ({ name: node }): Promise<NodeStatus> => {
      const heard = beats.get(node);
      const lag = role === "client" ? undefined : await lagOf(member, node);
      const latencyMs = await latencyOf(member, reader, node);
      return {
        node,
        alive: heard !== undefined,
        ...(heard === undefined ? {} : saidBy(heard)),
        ...(lag === undefined ? {} : { lag }),
        ...(latencyMs === undefined ? {} : { latencyMs }),
      };
    }),
  );
  const server = connection.info?.version ?? "unknown";
  const found = { nodes, blames, server, ...(streams === undefined ? {} : { streams }) };
  const time = new Date().toISOString();
  const [warnings, notes] = [warningsOf(found), notesOf(found)];
  return { version: 1, time, seenBy: name, role, keys, ...found, warnings, notes };
}

interface Heard {
  /** The first and the newest beat of the node's newest boot. */
  readonly first: Heartbeat;
  readonly body: Heartbeat;
  readonly atMs: number;
}

function listen({ cluster, connection }: OpenMember): Map<string, Heard> {
  const heard = new Map<string, Heard>();
  listenForBeats(cluster, connection, (body) => {
    const { first = body } = heard.get(body.node) ?? {};
    const isSameBoot = first.boot === body.boot;
    heard.set(body.node, { first: isSameBoot ? first : body, body, atMs: Date.now() });
  });
  return heard;
}

function saidBy({ first, body, atMs }: Heard): Partial<NodeStatus> {
  const { boot, beat, queued, activeKeys, software, signed, halted } = body;
  const rate = sharesPerSecond(first, body);
  return {
    boot,
    beat,
    queued,
    activeKeys,
    clockMs: Date.parse(body.time) - atMs,
    ...(software === undefined ? {} : { software }),
    ...(signed === undefined ? {} : { signed }),
    ...(rate === undefined ? {} : { sharesPerSecond: rate }),
    ...(halted === undefined ? {} : { halted }),
  };
}

/** By the node's own clock. Undefined for one beat alone, and for nodes that do not count. */
export function sharesPerSecond(
  { signed: before, time: from }: Heartbeat,
  { signed, time }: Heartbeat,
): number | undefined {
  const ms = Date.parse(time) - Date.parse(from);
  if (before === undefined || signed === undefined || ms <= 0) return undefined;
  return Math.round((1000 * (signed - before)) / ms);
}

async function blamesOf({ cluster }: OpenMember, reader: StreamReader): Promise<BlameStatus[]> {
  const ledger = new Ledger(cluster);
  await readLedger(ledger, cluster, reader);
  return cluster.nodes.flatMap(({ name }) =>
    ledger.of(name).map(({ node, verdict, body, seq }) => {
      const { code, text, time, client: by, evidence = [] } = body;
      return { node, verdict, code, text, time, by, evidence, seq };
    }),
  );
}

async function keysOf(
  { cluster }: OpenMember,
  reader: StreamReader,
): Promise<Record<KeyState, number>> {
  const lives = new KeyLives(cluster);
  const last = await reader.lastSeq(streamNames.keys, allKeys);
  for await (const entry of reader.replay(streamNames.keys, 1, last)) {
    try {
      if ("message" in entry) lives.apply(entry.message);
    } catch (error) {
      // What is against the rules changes no key; the audit tells of it.
      if (!(error instanceof HsmError)) throw error;
    }
  }
  const counts = { proposed: 0, active: 0, abandoned: 0, destroyed: 0 };
  for (const { state } of lives.all()) counts[state] += 1;
  return counts;
}

async function streamsOf({ connection }: OpenMember): Promise<StreamStatus[]> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 5000 });
  return await Promise.all(
    Object.values(streamNames).map(async (stream) => {
      const { state, config } = await manager.streams.info(stream);
      return { stream, messages: state.messages, bytes: state.bytes, maxBytes: config.max_bytes };
    }),
  );
}

async function lagOf({ connection }: OpenMember, node: string): Promise<number | undefined> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 5000 });
  try {
    const info = await manager.consumers.info(streamNames.requests, nodeConsumer(node));
    return info.num_pending + info.num_ack_pending;
  } catch {
    return undefined;
  }
}

/** By the server's own times of both messages: no clock but its is asked. */
async function latencyOf(
  { name, role }: OpenMember,
  reader: StreamReader,
  node: string,
): Promise<number | undefined> {
  if (role === "operator") return undefined;
  const to = role === "client" ? `${name}.>` : ">";
  try {
    const answer = await reader.last(streamNames.shares, `thsm.v1.share.${node}.${to}`);
    if (answer === undefined) return undefined;
    const [, , , , client = "", session = "", rid = ""] = answer.subject.split(".");
    const subject = formatSubject({ kind: "request", client, session, rid });
    const request = await reader.last(streamNames.requests, subject);
    return request === undefined ? undefined : Date.parse(answer.time) - Date.parse(request.time);
  } catch (error) {
    if (error instanceof HsmError && error.code !== "ERR_BROKER_UNREACHABLE") return undefined;
    throw error;
  }
}

/** What somebody should look at. */
export function warningsOf({
  nodes,
  blames,
  streams = [],
}: Pick<ClusterStatus, "nodes" | "blames" | "streams">): string[] {
  return [
    ...nodes.flatMap(({ node, alive }) => (alive ? [] : [`node ${node} is not heard`])),
    ...nodes.flatMap(({ node, halted }) =>
      halted === undefined ? [] : [`node ${node} refuses to sign: ${halted}`],
    ),
    ...nodes.flatMap(({ node, clockMs = 0 }) =>
      Math.abs(clockMs) > clockAlarmMs ? [compareClocks(node, clockMs)] : [],
    ),
    ...blames.map(({ node, verdict, code }) => `node ${node} is a ${verdict} (${code})`),
    ...streams.flatMap(({ stream, bytes, maxBytes }) =>
      maxBytes > 0 && bytes >= alarmShare * maxBytes
        ? [`${stream} is ${Math.floor((100 * bytes) / maxBytes)} % full`]
        : [],
    ),
  ];
}

/** An old server is a note, no warning: who has to live with one still wants to be alarmed by the rest. */
export function notesOf({ nodes, server }: Pick<ClusterStatus, "nodes" | "server">): string[] {
  const versions = new Set(nodes.flatMap(({ software }) => software ?? []));
  return [
    ...(isOlder(server) ? [`nats-server ${server} is older than ${goodServer.join(".")}`] : []),
    ...(versions.size > 1
      ? [`the nodes run different versions: ${[...versions].toSorted().join(", ")}`]
      : []),
  ];
}

function isOlder(server: string): boolean {
  const parts = server.split(".").map((part) => Number.parseInt(part, 10));
  for (const [index, wanted] of goodServer.entries()) {
    const part = parts[index] ?? 0;
    if (part !== wanted) return part < wanted;
  }
  return false;
}
