/** @module The module's side of the protocol in TypeScript, for polite and for hostile tests. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Reader, Writer } from "../../src/pkcs11-bridge/rpc/codec.js";
import { frame } from "../../src/pkcs11-bridge/rpc/framing.js";
import { protocolVersion } from "../../src/pkcs11-bridge/rpc/messages.js";
import { opNumber, type OpName } from "../../src/pkcs11-bridge/rpc/ops.js";

export interface RawReply {
  readonly kind: number;
  readonly code: number;
  readonly body: Buffer;
}

/** A hello payload; of the daemon's version unless another is given. */
export function helloPayload(
  application: Uint8Array = randomBytes(16),
  version: number = protocolVersion,
): Buffer {
  const head = new Writer().fixed(Buffer.from("thsm-p11")).u16(version).u32(0);
  return head.fixed(application).u32(4711).text("raw").finish();
}

/** One socket to a daemon. */
export class RawModule {
  readonly socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #isClosed = false;
  #wake: () => void = () => {};
  #nextId = 1;

  /** Half open, as the C module: an idle one does not notice that the daemon hung up. */
  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on("error", () => {});
    for (const event of ["end", "close"]) {
      socket.on(event, () => {
        this.#isClosed = true;
        this.#wake();
      });
    }
  }

  static async dial(path: string): Promise<RawModule> {
    const module = new RawModule(connect({ path, allowHalfOpen: true }));
    await once(module.socket, "connect");
    return module;
  }

  /** A socket that has been welcomed. */
  static async open(path: string, application?: Uint8Array): Promise<RawModule> {
    const module = await RawModule.dial(path);
    module.send(helloPayload(application));
    const welcome = await module.receive();
    if (welcome?.at(-1) !== 0) throw new Error("not welcome");
    return module;
  }

  send(payload: Uint8Array): void {
    this.socket.write(frame(payload));
  }

  /** The next payload; `undefined` when the daemon closed the socket. */
  async receive(): Promise<Buffer | undefined> {
    for (;;) {
      const length = this.#received.length >= 4 ? this.#received.readUInt32BE() : Infinity;
      if (this.#received.length >= 4 + length) {
        const payload = this.#received.subarray(4, 4 + length);
        this.#received = this.#received.subarray(4 + length);
        return payload;
      }
      if (this.#isClosed) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  request(op: number, body: Uint8Array, timeoutMs = 5000): void {
    this.send(new Writer().u32(this.#nextId++).u8(op).u32(timeoutMs).fixed(body).finish());
  }

  /** A call to its end; signs of life are skipped. */
  async call(op: OpName, body: Writer, timeoutMs?: number): Promise<RawReply> {
    this.request(opNumber(op), body.finish(), timeoutMs);
    for (;;) {
      const payload = await this.receive();
      if (payload === undefined) throw new Error("closed");
      const reader = new Reader(payload);
      const [, kind, code] = [reader.u32(), reader.u8(), reader.u32()];
      if (kind !== 1) return { kind, code, body: payload.subarray(9) };
    }
  }

  async login(token: string, pin: string): Promise<RawReply> {
    return this.call("login", new Writer().text(token).text(pin));
  }

  close(): void {
    this.socket.destroy();
  }
}
