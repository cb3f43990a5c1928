import { expect } from "chai";
import * as api from "threshold-hsm";
import * as scheme from "threshold-hsm/scheme";

describe("the package", () => {
  it("offers the client and its errors to programs", () => {
    expect(api).to.include.keys("connect", "HsmError", "QuorumError", "verifyHistory");
  });

  it("offers the mathematics alone", () => {
    expect(scheme).to.include.keys("dealKey", "combine", "ShareSigner", "parseGroupKey");
  });
});
