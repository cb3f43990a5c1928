/** @module What a lying broker does to which messages: the two sides of the table in broker.test.ts. */
import type { Lie, Link, Packet } from "../../support/proxy.js";

/** Which messages a lie concerns. */
export type Aim = (packet: Packet, member: string) => boolean;

const isNode = (member: string): boolean => /^n\d+$/.test(member);
const up =
  (prefix: string): Aim =>
  ({ way, subject }) =>
    way === "up" && subject.startsWith(prefix);
const ack =
  (stream: string): Aim =>
  ({ way, subject, payload, headers }) =>
    way === "down" &&
    headers === "" &&
    subject.startsWith("_INBOX_") &&
    payload.includes(`"stream":"${stream}"`) &&
    payload.length < 200;

export const sharesToClient: Aim = ({ way, subject }, member) =>
  way === "down" && !isNode(member) && subject.startsWith("thsm.v1.share.");

/** Asked once in many seconds: told for longer, and apart from the table. */
export const pulls: Aim = up("$JS.API.CONSUMER.MSG.NEXT.THSM_REQ.");

export const aims: Readonly<Record<string, Aim>> = {
  "requests on their way to the stream": up("thsm.v1.req."),
  "acknowledgements of requests": ack("THSM_REQ"),
  "requests on their way to nodes": ({ way, reply }) =>
    way === "down" && reply.startsWith("$JS.ACK.THSM_REQ."),
  "nodes' acknowledgements of requests": up("$JS.ACK.THSM_REQ."),
  "shares on their way to the stream": up("thsm.v1.share."),
  "acknowledgements of shares": ack("THSM_SHARE"),
  "shares on their way to the client": sharesToClient,
  "sessions' events on their way to the stream": up("thsm.v1.audit.client."),
  "acknowledgements of events": ack("THSM_AUDIT"),
  "questions for stored messages": up("$JS.API.DIRECT.GET."),
  "stored messages that were asked for": ({ way, headers }) =>
    way === "down" && headers.includes("Nats-Sequence:"),
  beats: ({ way, subject }) => way === "down" && subject.startsWith("thsm.v1.beat."),
};

/** Changes every message that is aimed at; counts how many. */
export function lying(aim: Aim, lie: Lie, count: { told: number }): Lie {
  return (packet, link) => {
    if (!aim(packet, link.member)) return [packet];
    count.told += 1;
    return lie(packet, link);
  };
}

/** A lie that leaves everything there, if late, double or out of order: signing goes on under it. */
export const harmless: Readonly<Record<string, () => Lie>> = {
  "comes late": () => (packet, link) => {
    setTimeout(() => link.pass(packet), 150);
    return [];
  },
  "comes twice": () => (packet) => [packet, packet],
  "comes in another order": () => {
    const held = new Map<Link, Packet[]>();
    return (packet, link) => {
      const waiting = held.get(link);
      if (waiting !== undefined) {
        waiting.unshift(packet);
        return [];
      }
      held.set(link, [packet]);
      setTimeout(() => {
        for (const one of held.get(link) ?? []) link.pass(one);
        held.delete(link);
      }, 60);
      return [];
    };
  },
};

/** A lie that takes the truth away. */
export const harmful: Readonly<Record<string, () => Lie>> = {
  "is dropped": () => () => [],
  "comes with another byte": () => (packet) => [{ ...packet, payload: changed(packet.payload) }],
  "comes without its headers": () => (packet) => [{ ...packet, headers: "" }],
  "comes with other headers": () => (packet) => [{ ...packet, headers: otherHeaders(packet) }],
  "comes on another subject": () => (packet) => [{ ...packet, subject: otherSubject(packet) }],
  "comes with another reply subject": () => (packet) => [
    {
      ...packet,
      reply: packet.reply === "" ? "" : otherSubject({ ...packet, subject: packet.reply }),
    },
  ],
  "comes as the one before": () => {
    const before = new Map<Link, Packet>();
    return (packet, link) => {
      const last = before.get(link);
      before.set(link, packet);
      return last === undefined
        ? []
        : [{ ...packet, payload: last.payload, headers: last.headers }];
    };
  },
};

/** One bit of a byte in the middle, where it stays readable text. */
function changed(payload: Buffer): Buffer {
  const copy = Buffer.from(payload);
  const at = copy.length >> 1;
  if (copy.length > 0) copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

/** Signatures, ids and sequence numbers, each with another digit. */
function otherHeaders({ headers }: Packet): string {
  if (headers === "") return "NATS/1.0\r\nThsm-Sig: ed25519 none\r\nNats-Sequence: 1\r\n\r\n";
  return headers.replaceAll(
    /^([A-Za-z-]+: .*?)([0-9A-Za-z])\r$/gm,
    (_, head: string, last: string) => {
      return `${head}${last === "1" ? "2" : "1"}\r`;
    },
  );
}

/** The same with its last character changed: a sibling's rid, inbox entry or number. */
function otherSubject({ subject }: Packet): string {
  const last = subject.at(-1) ?? "";
  return `${subject.slice(0, -1)}${last === "A" ? "B" : "A"}`;
}
