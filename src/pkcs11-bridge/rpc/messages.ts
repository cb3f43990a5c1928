/** @module The envelope of the protocol: hello, welcome, request and reply. */
import { HsmError } from "../../errors.js";
import { Reader, Writer } from "./codec.js";

export const protocolVersion = 2;
const magic: Buffer = Buffer.from("thsm-p11", "ascii");
const maxProgramBytes = 64;

/** The first frame from a module. `application` is a secret: it stands for a login. */
export interface Hello {
  readonly version: number;
  /** 32 hex digits. */
  readonly application: string;
  readonly pid: number;
  readonly program: string;
}

export const greetings = { welcome: 0, version: 1, busy: 2, refused: 3 } as const;
export type Greeting = keyof typeof greetings;

export interface Request {
  readonly id: number;
  readonly op: number;
  /** How long the module waits for the answer. */
  readonly timeoutMs: number;
  readonly body: Uint8Array;
}

/** `working`: the answer is still to come. `retry`: ask again in a while. */
export const replyKinds = { final: 0, working: 1, retry: 2 } as const;
export type ReplyKind = keyof typeof replyKinds;

const emptyBody: Uint8Array = new Uint8Array(0);

/** @throws HsmError `ERR_INVALID_MESSAGE`. Of another version nothing but the version is read. */
export function parseHello(payload: Uint8Array): Hello {
  const reader = new Reader(payload);
  if (!reader.fixed(magic.length).equals(magic)) {
    throw new HsmError("ERR_INVALID_MESSAGE", "no hello of our protocol");
  }
  const version = reader.u16();
  if (version !== protocolVersion) return { version, application: "", pid: 0, program: "" };
  reader.u32(); // features: none is defined yet, unknown ones are ignored
  const application = reader.fixed(16).toString("hex");
  const pid = reader.u32();
  const program = reader.bytes();
  reader.end();
  if (program.length > maxProgramBytes) {
    throw new HsmError("ERR_INVALID_MESSAGE", "program name too long");
  }
  // The name is whatever the caller's file system says: kept printable for logs and audit trail.
  return { version, application, pid, program: program.toString("latin1").replace(/[^!-~]/g, "?") };
}

/** The daemon's answer to a hello. */
export function encodeWelcome(greeting: Greeting): Buffer {
  const writer = new Writer().fixed(magic).u16(protocolVersion).u32(0);
  return writer.u8(greetings[greeting]).finish();
}

/** @throws HsmError `ERR_INVALID_MESSAGE` */
export function parseRequest(payload: Uint8Array): Request {
  const reader = new Reader(payload);
  const [id, op, timeoutMs] = [reader.u32(), reader.u8(), reader.u32()];
  return { id, op, timeoutMs, body: payload.subarray(9) };
}

export function encodeReply(
  id: number,
  kind: ReplyKind,
  code: number,
  body: Uint8Array = emptyBody,
): Buffer {
  return new Writer().u32(id).u8(replyKinds[kind]).u32(code).fixed(body).finish();
}
