import { expect } from "chai";
import { IsDefined, IsInt, validateSync } from "class-validator";
import * as fc from "fast-check";
import { SigningResult } from "../src/streams/audit-events.js";
import { SignRequest } from "../src/streams/requests.js";
import { ShareMessage } from "../src/streams/shares.js";
import { isCertainlyValid } from "../src/validate-fast.js";
import { parseJson } from "../src/validate.js";
import { honestHistory } from "./client/audit/history.js";

const strict = { whitelist: true, forbidNonWhitelisted: true, forbidUnknownValues: true };
const { streams } = honestHistory();

/** Genuine bodies, to be spoilt. */
const bodies = [
  ...streams.THSM_REQ.map(({ payload }) => ({ type: SignRequest, plain: parseJson(payload) })),
  ...streams.THSM_SHARE.map(({ payload }) => ({ type: ShareMessage, plain: parseJson(payload) })),
  ...streams.THSM_AUDIT.map(({ payload }) => ({ type: SigningResult, plain: parseJson(payload) })),
] as { type: new () => object; plain: Record<string, unknown> }[];

function instance(type: new () => object, plain: Record<string, unknown>): object {
  return Object.assign(new type(), plain);
}

class WithUnknownDecorator {
  @IsDefined() @IsInt() readonly n!: number;
}

describe("the fast validation", () => {
  it("passes genuine messages", () => {
    for (const { type, plain } of bodies) {
      if (type === SigningResult && plain["type"] !== "result") continue;
      expect(isCertainlyValid(type, instance(type, plain)), type.name).to.equal(true);
    }
  });

  it("passes nothing that class-validator refuses", () => {
    const odd = fc.oneof(
      fc.constantFrom<unknown>(undefined, null, [], {}, "", 0, -1, 1.5, 33, 2 ** 53, NaN, true),
      fc.constantFrom<unknown>([1, 1], ["AAAA"], ["A"], [1, "1"], new Set([1]), new Map(), [null]),
      fc.string(),
      fc.array(fc.oneof(fc.string(), fc.integer()), { maxLength: 70 }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...bodies), fc.nat(), odd, ({ type, plain }, at, value) => {
        const fields = [...Object.keys(new type()), "stranger"];
        const spoilt = instance(type, { ...plain, [fields[at % fields.length] ?? ""]: value });
        if (!isCertainlyValid(type, spoilt)) return;
        expect(validateSync(spoilt, strict)).to.deep.equal([]);
      }),
      { numRuns: 5000 },
    );
  });

  it("leaves decorators that it does not know to class-validator", () => {
    const value = Object.assign(new WithUnknownDecorator(), { n: 1 });
    expect(validateSync(value, strict)).to.deep.equal([]);
    expect(isCertainlyValid(WithUnknownDecorator, value)).to.equal(false);
  });
});
