import { expect } from "chai";
import * as fc from "fast-check";
import { Settled } from "../../../src/client/audit/settled.js";

const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => {
  return Buffer.from(bytes).toString("base64url");
});
const name = fc.record({ client: fc.constantFrom("knot", "bind"), rid: id });

describe("the table of settled requests", () => {
  it("knows exactly what was put in, through all its growing", () => {
    const names = fc.uniqueArray(name, {
      minLength: 3000,
      maxLength: 3000,
      selector: ({ client, rid }) => `${client}.${rid}`,
    });
    fc.assert(
      fc.property(names, (all) => {
        const settled = new Settled();
        const [inside, outside] = [all.slice(0, 2500), all.slice(2500)];
        for (const [index, one] of inside.entries()) {
          settled.add(one, index % 2 === 0, index % 3 === 0 ? [1, 32] : []);
        }
        for (const [index, one] of inside.entries()) {
          expect(settled.has(one)).to.equal(true);
          expect(settled.takeOwed(one, 2)).to.equal(false);
          for (const party of [32, 1]) {
            expect(settled.takeOwed(one, party)).to.equal(index % 3 === 0);
            expect(settled.takeOwed(one, party)).to.equal(false);
          }
          expect(settled.close(one)).to.equal(index % 2 === 0);
          expect(settled.close(one)).to.equal(true);
        }
        for (const one of outside) expect(settled.has(one)).to.equal(false);
      }),
      { numRuns: 2 },
    );
  }).timeout(60_000);

  it("tells ids apart that differ in bits beyond their 128", () => {
    const settled = new Settled();
    const rid = "A".repeat(21);
    settled.add({ client: "knot", rid: `${rid}A` }, true, []);
    expect(settled.has({ client: "knot", rid: `${rid}B` })).to.equal(false);
    expect(settled.has({ client: "bind", rid: `${rid}A` })).to.equal(false);
  });
});
