import { expect } from "chai";
import { HsmError, type HsmErrorCode } from "../../src/errors.js";
import { ckr } from "../../src/pkcs11-bridge/ckr.js";
import { ckrOf } from "../../src/pkcs11-bridge/errors-to-ckr.js";

describe("a refusal by the nodes", () => {
  const refusals: [HsmErrorCode, number][] = [
    ["ERR_REFUSED_BY_POLICY", ckr.DATA_INVALID],
    ["ERR_RATE_LIMITED", ckr.DEVICE_ERROR],
    ["ERR_UNSUPPORTED_MECHANISM", ckr.MECHANISM_INVALID],
    ["ERR_UNKNOWN_KEY", ckr.KEY_HANDLE_INVALID],
    ["ERR_KEY_NOT_ACTIVE", ckr.KEY_HANDLE_INVALID],
    ["ERR_EXPIRED", ckr.DEVICE_ERROR],
    ["ERR_INVALID_ARGUMENT", ckr.ARGUMENTS_BAD],
    ["ERR_INVALID_MESSAGE", ckr.DEVICE_ERROR],
    ["ERR_INTERNAL", ckr.GENERAL_ERROR],
  ];
  for (const [code, expected] of refusals) {
    it(`with ${code} reaches the application as 0x${expected.toString(16)}`, () => {
      expect(ckrOf(new HsmError(code, "the nodes refused"))).to.equal(expected);
    });
  }
});
