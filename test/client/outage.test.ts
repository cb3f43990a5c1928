/** @module Who tries in an outage, and who is told at once. */
import { expect } from "chai";
import { Outage } from "../../src/client/outage.js";
import { HsmError } from "../../src/errors.js";
import { failure } from "../support/errors.js";

describe("an outage", () => {
  const gone = new HsmError("ERR_QUORUM_NOT_REACHED", "nobody is there");
  let nowMs = 0;
  let tries = 0;
  let outage: Outage;
  const attempt = (error?: Error) => async (): Promise<string> => {
    tries++;
    if (error !== undefined) throw error;
    return "signature";
  };

  beforeEach(() => {
    [nowMs, tries] = [1000, 0];
    outage = new Outage(() => nowMs);
  });

  it("is tried by one call in a while, and the others hear what that one heard", async () => {
    for (let i = 0; i < 5; i++) {
      expect(await failure(outage.during(attempt(gone)), gone.code)).to.equal(gone);
    }
    expect(tries).to.equal(1);
    nowMs += 10_000;
    await Promise.all([1, 2, 3].map(() => failure(outage.during(attempt(gone)), gone.code)));
    expect(tries).to.equal(2);
  });

  it("is tried by all whom nobody told yet", async () => {
    await Promise.all([1, 2, 3].map(() => failure(outage.during(attempt(gone)), gone.code)));
    expect(tries).to.equal(3);
  });

  it("is over with the first success, and when somebody says so", async () => {
    await failure(outage.during(attempt(gone)), gone.code);
    outage.over();
    expect(await outage.during(attempt())).to.equal("signature");
    await failure(outage.during(attempt(gone)), gone.code);
    nowMs += 10_000;
    expect(await outage.during(attempt())).to.equal("signature");
    expect(await outage.during(attempt())).to.equal("signature");
    expect(tries).to.equal(5);
  });

  it("is not what a call's own fault is taken for", async () => {
    const wrong = new HsmError("ERR_INVALID_ARGUMENT", "no such hash");
    expect(await failure(outage.during(attempt(wrong)), wrong.code)).to.equal(wrong);
    expect(await outage.during(attempt())).to.equal("signature");
  });
});
