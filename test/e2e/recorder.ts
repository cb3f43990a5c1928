/** @module A proxy in front of a TCP port or a Unix socket that keeps all bytes of both directions. */
import { once } from "node:events";
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";

const open = new Set<Recorder>();

export class Recorder {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #chunks = new Map<string, Buffer[]>();
  #count = 0;

  private constructor(target: NetConnectOpts) {
    this.#server = createServer((near) => {
      const far = connect(target);
      const name = String(++this.#count);
      this.#join(near, far, `${name} there`);
      this.#join(far, near, `${name} back`);
    });
  }

  /** Listens on a Unix socket, or (a number) on that TCP port, 0 for any. */
  static async start(where: string | number, target: NetConnectOpts): Promise<Recorder> {
    const recorder = new Recorder(target);
    open.add(recorder);
    if (typeof where === "string") recorder.#server.listen(where);
    else recorder.#server.listen(where, "127.0.0.1");
    await once(recorder.#server, "listening");
    return recorder;
  }

  static closeAll(): void {
    for (const recorder of open) recorder.#close();
    open.clear();
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** All bytes, connection by connection and direction by direction: nothing is cut apart. */
  get bytes(): Buffer {
    return Buffer.concat([...this.#chunks.values()].flat());
  }

  #close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #join(from: Socket, to: Socket, name: string): void {
    const chunks: Buffer[] = [];
    this.#chunks.set(name, chunks);
    this.#sockets.add(from);
    from.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      to.write(chunk);
    });
    from.on("end", () => to.end());
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroySoon();
    });
  }
}
