/** @module What a call must fail with. */
import { expect } from "chai";
import { HsmError, type HsmErrorCode } from "../../src/errors.js";

/** Resolves to the error of `work`, which must be an HsmError of this code. */
export async function failure(
  work: Promise<unknown> | (() => unknown),
  code: HsmErrorCode,
): Promise<HsmError> {
  let error: unknown;
  try {
    const value = await (typeof work === "function" ? work() : work);
    expect.fail(`expected ${code}, got a result: ${String(value)}`);
  } catch (caught) {
    error = caught;
  }
  if (!(error instanceof HsmError)) throw error;
  expect(error.code, error.message).to.equal(code);
  return error;
}
