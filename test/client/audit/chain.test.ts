import { expect } from "chai";
import * as fc from "fast-check";
import { Chain } from "../../../src/client/audit/chain.js";
import type { FindingCode } from "../../../src/client/audit/findings.js";
import type { StoredMessage } from "../../../src/streams/envelope.js";

interface Link {
  readonly n: number;
  readonly prev: string;
  readonly hash: string;
}

function hashOf(n: number): string {
  return n.toString(16).padStart(64, "0");
}

function chainOf(length: number): Link[] {
  return Array.from({ length }, (_, index) => ({
    n: index + 1,
    prev: hashOf(index),
    hash: hashOf(index + 1),
  }));
}

function fed(links: readonly Link[]): { codes: FindingCode[]; steps: string[]; n: number } {
  const codes: FindingCode[] = [];
  const chain = new Chain({ name: "node ada", whose: { node: "ada" } }, ({ code }) => {
    // Whatever the order, it is noted; what counts here is what follows from all of them together.
    if (code !== "AUDIT_CHAIN_ORDER") codes.push(code);
  });
  const steps = links.map(({ n, prev, hash }, index) => {
    const message: StoredMessage = {
      stream: "THSM_SHARE",
      subject: "",
      payload: new Uint8Array(),
      signature: "",
      time: "",
      seq: index + 1,
      hash,
    };
    return chain.add({ n, prev }, message);
  });
  const head = chain.finish();
  return { codes, steps, n: head?.n ?? 0 };
}

/** An order of a chain of up to 40 messages. */
const shuffled = fc.integer({ min: 1, max: 40 }).chain((length) => {
  const links = chainOf(length);
  return fc.shuffledSubarray(links, { minLength: length, maxLength: length });
});

describe("a chain", () => {
  it("is whole in whatever order it is read", () => {
    fc.assert(
      fc.property(shuffled, (links) => {
        expect(fed(links)).to.deep.include({ codes: [], n: links.length });
      }),
    );
  });

  it("tells repeats from forks, in whatever order", () => {
    fc.assert(
      fc.property(shuffled, fc.nat(), (links, pick) => {
        const again = links[pick % links.length];
        if (again === undefined) throw new RangeError("empty chain");
        const other = { ...again, hash: "f".repeat(64) };
        expect(fed([...links, again]).steps.at(-1)).to.equal("repeat");
        expect(fed([...links, other])).to.deep.include({ codes: ["AUDIT_CHAIN_FORK"] });
      }),
    );
  });

  it("shows each gap once, and each link that does not fit", () => {
    fc.assert(
      fc.property(shuffled, fc.nat(), (links, pick) => {
        const broken = pick % links.length;
        const spoilt = links.map((link, at) =>
          at === broken ? { ...link, prev: "e".repeat(64) } : link,
        );
        expect(fed(spoilt).codes).to.deep.equal(["AUDIT_CHAIN_BROKEN"]);
        const gone = links[broken]?.n ?? 0;
        const expected = gone === links.length ? [] : ["AUDIT_CHAIN_GAP"];
        expect(fed(links.filter(({ n }) => n !== gone)).codes).to.deep.equal(expected);
      }),
    );
  });

  it("stays whole over many messages", () => {
    expect(fed(chainOf(5000).toReversed())).to.deep.include({ codes: [], n: 5000 });
    expect(fed(chainOf(5000))).to.deep.include({ codes: [], n: 5000 });
  });

  it("starts at 1", () => {
    expect(fed([{ n: 0, prev: hashOf(0), hash: hashOf(1) }]).codes).to.deep.equal([
      "AUDIT_CHAIN_BROKEN",
    ]);
  });
});
