/**
 * @module The one boundary that everything untrusted crosses: plain data becomes a validated
 * instance of a message or configuration class, or an `HsmError`.
 */
import { validateSync, type ValidationError } from "class-validator";
import { HsmError, type HsmErrorCode } from "./errors.js";
import { isCertainlyValid } from "./validate-fast.js";

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A `type` filled from `plain` and checked against its class-validator decorators.
 * Unknown properties are refused, not dropped: a typo in a configuration must not pass silently.
 * @throws HsmError `code`, with every wrong field named.
 */
export function validated<T extends object>(
  type: new () => T,
  plain: unknown,
  code: HsmErrorCode,
): T {
  if (typeof plain !== "object" || plain === null || Array.isArray(plain)) {
    throw new HsmError(code, `${type.name}: expected an object`);
  }
  const value = new type();
  for (const [key, field] of Object.entries(plain)) {
    // A fresh instance owns exactly its declared fields, so this also refuses "__proto__" and
    // "hasOwnProperty", which class-validator's own whitelist lets through.
    if (!Object.hasOwn(value, key)) {
      throw new HsmError(code, `${type.name}: unknown property ${JSON.stringify(key)}`);
    }
    Reflect.set(value, key, field);
  }
  if (isCertainlyValid(type, value)) return value;
  const errors = validateSync(value, {
    whitelist: true,
    forbidNonWhitelisted: true,
    forbidUnknownValues: true,
  });
  if (errors.length > 0) {
    throw new HsmError(code, `${type.name}: ${errors.map(describe).join("; ")}`);
  }
  return value;
}

/**
 * The value in `bytes`: strict UTF-8, then JSON.
 * @throws HsmError `ERR_INVALID_MESSAGE`
 */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(strictUtf8.decode(bytes));
  } catch (cause) {
    throw new HsmError("ERR_INVALID_MESSAGE", "payload is not UTF-8 JSON", { cause });
  }
}

function describe(error: ValidationError): string {
  return Object.values(error.constraints ?? { nested: `${error.property} is wrong` }).join(", ");
}
