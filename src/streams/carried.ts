/**
 * @module A signed message inside another one, or in a file: exactly the bytes that its sender signed, so
 * that whoever gets them can verify them without the stream.
 */
import { ArrayMaxSize, ArrayMinSize, IsArray, ValidateBy } from "class-validator";
import { HsmError } from "../errors.js";
import { assembleMessage, type SignedMessage } from "./envelope.js";
import { parseSubject, streamNames, type StreamName } from "./subjects.js";

/** Strings only, in the order in which a reader looks. `payload` is the payload's UTF-8 text. */
export interface CarriedMessage {
  readonly stream: string;
  readonly subject: string;
  readonly payload: string;
  readonly signature: string;
}

const fields = ["stream", "subject", "payload", "signature"];
const mostMessages = 200;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws HsmError `ERR_INVALID_MESSAGE` for a payload that is no text: no message of ours */
export function carry({ stream, subject, payload, signature }: SignedMessage): CarriedMessage {
  try {
    return { stream, subject, payload: utf8.decode(payload), signature };
  } catch (cause) {
    throw new HsmError("ERR_INVALID_MESSAGE", "payload is not UTF-8", { cause });
  }
}

/** The message again. Not yet verified. @throws HsmError `ERR_INVALID_MESSAGE`, `ERR_INVALID_SIGNATURE` */
export function unpack({ stream, subject, payload, signature }: CarriedMessage): SignedMessage {
  const known = Object.values<StreamName>(streamNames).find((name) => name === stream);
  if (known === undefined) throw new HsmError("ERR_INVALID_MESSAGE", `no stream ${stream}`);
  parseSubject(subject);
  return assembleMessage(known, subject, Buffer.from(payload, "utf8"), signature);
}

export const IsCarriedList = (): PropertyDecorator => (target, key) => {
  for (const decorate of [IsArray(), ArrayMinSize(1), ArrayMaxSize(mostMessages), areCarried]) {
    decorate(target, key);
  }
};

const areCarried = ValidateBy({
  name: "areCarried",
  validator: {
    validate: (value) => Array.isArray(value) && value.every(isCarried),
    defaultMessage: () => "$property must be messages with stream, subject, payload and signature",
  },
});

function isCarried(value: unknown): value is CarriedMessage {
  if (typeof value !== "object" || value === null) return false;
  const entries = Object.entries(value);
  return (
    entries.length === fields.length &&
    entries.every(([field, text]) => fields.includes(field) && typeof text === "string")
  );
}
