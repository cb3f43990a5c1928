/**
 * @module A socket between the PKCS#11 module and its daemon that counts the calls, and can let the
 * daemon's answer get lost.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { FrameReader } from "../../src/pkcs11-bridge/rpc/framing.js";
import { opName, type OpName } from "../../src/pkcs11-bridge/rpc/ops.js";

/** Offsets in the payload of a request and of a reply. */
const [opAt, kindAt] = [4, 4];
const final = 0;
/** What the module takes. */
const maxReplyBytes = 1024 * 1024;

export interface FrameProxyHooks {
  /** Before a request is handed on. */
  readonly onRequest?: (op: OpName) => void;
  /** Before a final reply is handed on; false: both sides lose their connection instead. */
  readonly onReply?: (op: OpName) => boolean;
}

export class FrameProxy {
  /** Requests by call. */
  readonly requests: Map<OpName, number> = new Map<OpName, number>();
  hooks: FrameProxyHooks = {};
  readonly #server: Server;
  readonly #target: string;
  readonly #sockets = new Set<Socket>();

  private constructor(target: string) {
    this.#target = target;
    this.#server = createServer((module) => this.#join(module));
  }

  static async listen(path: string, target: string): Promise<FrameProxy> {
    const proxy = new FrameProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(path, resolve));
    return proxy;
  }

  get total(): number {
    return [...this.requests.values()].reduce((sum, count) => sum + count, 0);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(module: Socket): void {
    const daemon = connect(this.#target);
    const cut = (): void => {
      for (const socket of [module, daemon]) {
        this.#sockets.delete(socket);
        socket.destroy();
      }
    };
    for (const socket of [module, daemon]) {
      this.#sockets.add(socket);
      socket.on("error", cut).on("close", cut);
    }
    let op: OpName | undefined;
    onPayloads(module, (payload, isFirst) => {
      if (isFirst) return;
      op = opName(payload[opAt] ?? 0);
      if (op === undefined) return;
      this.requests.set(op, (this.requests.get(op) ?? 0) + 1);
      this.hooks.onRequest?.(op);
    });
    module.on("data", (chunk: Buffer) => daemon.write(chunk));
    let isLost = false;
    onPayloads(daemon, (payload, isFirst) => {
      if (isFirst || op === undefined || payload[kindAt] !== final) return;
      isLost ||= this.hooks.onReply?.(op) === false;
      if (isLost) cut();
    });
    daemon.on("data", (chunk: Buffer) => void (isLost || module.write(chunk)));
  }
}

function onPayloads(socket: Socket, see: (payload: Uint8Array, isFirst: boolean) => void): void {
  const frames = new FrameReader(maxReplyBytes);
  let isFirst = true;
  socket.on("data", (chunk: Buffer) => {
    for (const payload of frames.push(chunk)) {
      see(payload, isFirst);
      isFirst = false;
    }
  });
}
