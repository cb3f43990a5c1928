/**
 * @module The broker in the hands of an enemy: it stands between real processes and a real nats-server, reads
 * their protocol, and passes on what a test's lie makes of each message. A login's signed nonce passes
 * through, so neither side notices.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A message on its way: "up" to the server, "down" to a subscriber. */
export interface Packet {
  readonly way: "up" | "down";
  readonly subject: string;
  /** "" for none. */
  readonly reply: string;
  /** The block as it is on the wire, with its status line; "" for none. */
  readonly headers: string;
  readonly payload: Buffer;
  /** Of the subscription, on the way down. */
  readonly sid: string;
}

/** What goes on in a packet's place; the packet itself is the truth. */
export type Lie = (packet: Packet, link: Link) => readonly Packet[];

const truth: Lie = (packet) => [packet];
const lineEnd = Buffer.from("\r\n");

/** One connection through the proxy. */
export class Link {
  /** Who is connected, by the name that its login gave: n1, c1, … */
  member = "";
  readonly #subscriptions = new Map<string, string>();
  readonly #near: Socket;
  readonly #far: Socket;

  constructor(near: Socket, far: Socket, lie: () => Lie) {
    this.#near = near;
    this.#far = far;
    this.#join(near, far, "up", lie);
    this.#join(far, near, "down", lie);
  }

  /** Sends a packet now, whatever the lie is. */
  pass(packet: Packet): void {
    const socket = packet.way === "up" ? this.#far : this.#near;
    if (socket.writable) socket.write(encode(packet));
  }

  /** Invents a message for the member; false when it has no subscription for the subject. */
  deliver(subject: string, payload: Buffer, headers = "", reply = ""): boolean {
    for (const [sid, pattern] of this.#subscriptions) {
      if (!covers(pattern, subject)) continue;
      this.pass({ way: "down", subject, reply, headers, payload, sid });
      return true;
    }
    return false;
  }

  destroy(): void {
    this.#near.destroy();
    this.#far.destroy();
  }

  #join(from: Socket, to: Socket, way: Packet["way"], lie: () => Lie): void {
    const reader = new WireReader(way);
    from.on("data", (chunk: Buffer) => {
      for (const part of reader.push(chunk)) {
        if ("line" in part) {
          if (way === "up") this.#note(part.line);
          to.write(`${part.line}\r\n`);
        } else {
          for (const packet of lie()(part, this)) this.pass(packet);
        }
      }
    });
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroySoon());
  }

  #note(line: string): void {
    const [op = "", ...rest] = line.split(" ");
    if (op === "CONNECT") {
      const { name = "" } = JSON.parse(line.slice(op.length)) as { name?: string };
      this.member = name.replace("thsm ", "");
    } else if (op === "SUB") {
      this.#subscriptions.set(rest.at(-1) ?? "", rest[0] ?? "");
    } else if (op === "UNSUB") {
      this.#subscriptions.delete(rest[0] ?? "");
    }
  }
}

export class NatsProxy {
  /** Told until it is replaced; undefined for an honest broker. */
  lie: Lie | undefined;
  readonly links: Set<Link> = new Set<Link>();
  readonly #server: Server;

  private constructor(target: { host: string; port: number }) {
    this.#server = createServer((near) => {
      const far = connect(target);
      const link = new Link(near, far, () => this.lie ?? truth);
      this.links.add(link);
      near.on("close", () => this.links.delete(link));
    });
  }

  /** Listens on a free port in front of a server such as `nats://127.0.0.1:4222`. */
  static async start(url: string): Promise<NatsProxy> {
    const { hostname: host, port } = new URL(url);
    const proxy = new NatsProxy({ host, port: Number(port) });
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  close(): void {
    for (const link of this.links) link.destroy();
    this.#server.close();
  }
}

/** Cuts one direction of a connection into messages and the lines between them. */
class WireReader {
  readonly #way: Packet["way"];
  #pending: Buffer = Buffer.alloc(0);

  constructor(way: Packet["way"]) {
    this.#way = way;
  }

  push(chunk: Buffer): (Packet | { line: string })[] {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const parts: (Packet | { line: string })[] = [];
    for (let part = this.#next(); part !== undefined; part = this.#next()) parts.push(part);
    return parts;
  }

  #next(): Packet | { line: string } | undefined {
    const end = this.#pending.indexOf(lineEnd);
    if (end < 0) return undefined;
    const line = this.#pending.toString("latin1", 0, end);
    const [op = "", ...words] = line.split(" ");
    const isMessage = /^H?(PUB|MSG)$/.test(op);
    const hasHeaders = op.startsWith("H");
    const size = isMessage ? Number(words.pop()) : 0;
    const headerSize = isMessage && hasHeaders ? Number(words.pop()) : 0;
    const start = end + lineEnd.length;
    if (!isMessage) {
      this.#pending = this.#pending.subarray(start);
      return { line };
    }
    if (this.#pending.length < start + size + lineEnd.length) return undefined;
    const [subject = ""] = words;
    const sid = this.#way === "down" ? (words[1] ?? "") : "";
    const reply = words[this.#way === "down" ? 2 : 1] ?? "";
    const body = this.#pending.subarray(start, start + size);
    this.#pending = this.#pending.subarray(start + size + lineEnd.length);
    const headers = body.toString("latin1", 0, headerSize);
    const payload = Buffer.from(body.subarray(headerSize));
    return { way: this.#way, subject, sid, reply, headers, payload };
  }
}

function encode({ way, subject, sid, reply, headers, payload }: Packet): Buffer {
  const hasHeaders = headers !== "";
  const op = `${hasHeaders ? "H" : ""}${way === "up" ? "PUB" : "MSG"}`;
  const block = Buffer.from(headers, "latin1");
  const words = [op, subject, sid, reply].filter((word) => word !== "");
  const sizes = hasHeaders ? [block.length] : [];
  const head = `${[...words, ...sizes, block.length + payload.length].join(" ")}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), block, payload, lineEnd]);
}

function covers(pattern: string, subject: string): boolean {
  const [want, have] = [pattern.split("."), subject.split(".")];
  for (const [index, token] of want.entries()) {
    if (token === ">") return have.length > index;
    if (token !== "*" && token !== have[index]) return false;
  }
  return want.length === have.length;
}
