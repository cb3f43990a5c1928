/**
 * @module Random mutations of a recorded history, thousands of them with SLOW=1: each is found, or changes
 * nothing that was verified. The times are the server's word and no part of that. THSM_SEED repeats a run.
 */
import { expect } from "chai";
import * as fc from "fast-check";
import { keptStreams, type KeptStream } from "../../../src/client/audit/sources.js";
import type { VerifyOptions } from "../../../src/client/audit/verify.js";
import { parseJson } from "../../../src/validate.js";
import { seed } from "../../support/random.js";
import type { Stored, Streams } from "./history.js";
import { copy, other, outcome, renumbered, twoSessions, type Outcome } from "./mutated.js";
import { inPlace, wholesale, type Mutation } from "./mutations.js";

const numRuns = process.env["SLOW"] === undefined ? 150 : 5000;

interface Step {
  readonly kind: string;
  readonly stream: KeptStream;
  readonly a: number;
  readonly b: number;
}

/** A history in which a node lied, so that what is to be found can be hidden too. */
const history = twoSessions();
const lied = history.request(history.openSession(), { parties: [1, 2, 3] });
history.answer(1, lied, { shares: history.shares(2, lied.body) });
for (const party of [2, 3]) history.answer(party, lied);
history.result(lied, [2, 3]);

function stepsOf(mutations: Readonly<Record<string, Mutation>>): fc.Arbitrary<Step[]> {
  const kind = fc.constantFrom(...Object.keys(mutations));
  const stream = fc.constantFrom(...keptStreams);
  const step = fc.record({ kind, stream, a: fc.nat(), b: fc.nat() });
  return fc.array(step, { minLength: 1, maxLength: 3 });
}

function mutated(
  mutations: Readonly<Record<string, Mutation>>,
  steps: readonly Step[],
  isRenumbered: boolean,
): Streams {
  const streams = copy(history);
  for (const { kind, stream, a, b } of steps) mutations[kind]?.(streams, stream, a, b);
  return isRenumbered ? renumbered(streams) : streams;
}

/** Whether it tells of anything that the honest audit did not. */
function hasFound({ findings }: Outcome, honest: Outcome): boolean {
  return findings.some((finding) => !honest.findings.includes(finding));
}

function bytesOf(list: readonly Stored[]): string {
  return JSON.stringify(
    list.map(({ seq, subject, payload, signature }) => [
      seq,
      subject,
      Buffer.from(payload).toString("hex"),
      signature,
    ]),
  );
}

/** Chain, and number in it, of a message that has its place in one. */
function placeOf({ payload }: Stored): { chain: string; n: number } | undefined {
  const fields = new Map<string, unknown>(Object.entries(parseJson(payload) as object));
  const n = fields.get("n");
  const whose = fields.get("node") ?? fields.get("session");
  return typeof n === "number" && typeof whose === "string" ? { chain: whose, n } : undefined;
}

/** Whether all that is gone stood at ends of chains: nothing that is left knows of it. */
function isChainEnd(gone: readonly Stored[]): boolean {
  const all = keptStreams.flatMap((stream) => history.streams[stream]);
  return gone.every((stored) => {
    const place = placeOf(stored);
    return (
      place !== undefined &&
      all.every((one) => {
        const { chain, n } = placeOf(one) ?? { chain: "", n: 0 };
        return chain !== place.chain || n <= place.n || gone.includes(one);
      })
    );
  });
}

describe(`random mutations of a recorded history (THSM_SEED=${seed})`, function () {
  this.timeout(3_600_000);
  const run = { numRuns, seed: seed | 0, endOnFailure: true };
  let honest: Outcome;
  let again: Outcome;
  let options: VerifyOptions;
  before(async () => {
    honest = await outcome(copy(history));
    expect(honest.codes).to.deep.equal(["AUDIT_WRONG_SHARE"]);
    if (honest.mark === undefined) throw new TypeError("no mark");
    options = { bookmark: honest.mark };
    again = await outcome(copy(history), options);
    expect(again.findings).to.deep.equal(honest.findings);
  });

  it("are found by an audit that remembers nothing, or change nothing", async () => {
    const counts = { found: 0, nothing: 0, end: 0 };
    await fc.assert(
      fc.asyncProperty(stepsOf(inPlace), fc.boolean(), async (steps, isRenumbered) => {
        const streams = mutated(inPlace, steps, isRenumbered);
        const audit = await outcome(streams);
        if (hasFound(audit, honest)) counts.found++;
        else if (JSON.stringify(audit.facts) === JSON.stringify(honest.facts)) counts.nothing++;
        else {
          // What is not there, and nobody left has signed a successor to: checkpoints and bookmarks cover it.
          const left = new Set(keptStreams.flatMap((one) => streams[one].map((s) => s.signature)));
          const gone = keptStreams.flatMap((one) =>
            history.streams[one].filter(({ signature }) => !left.has(signature)),
          );
          expect(gone.length, "facts changed, and nothing is gone").to.be.greaterThan(0);
          expect(isChainEnd(gone), "what is gone has a successor").to.equal(true);
          expect(audit.facts.messages.every((one) => honest.facts.messages.includes(one))).to.equal(
            true,
          );
          counts.end++;
        }
      }),
      run,
    );
    expect(counts.found, JSON.stringify(counts)).to.be.greaterThan(numRuns / 2);
    expect(counts.nothing, JSON.stringify(counts)).to.be.greaterThan(0);
  });

  it("are found by an audit with a bookmark, or come after it and were signed", async () => {
    const counts = { found: 0, after: 0 };
    const genuine = new Set([
      ...again.facts.messages,
      ...(await outcome(copy(other))).facts.messages,
    ]);
    const mutations = { ...inPlace, ...wholesale };
    await fc.assert(
      fc.asyncProperty(stepsOf(mutations), fc.boolean(), async (steps, isRenumbered) => {
        const streams = mutated(mutations, steps, isRenumbered);
        const audit = await outcome(streams, options);
        const isBeginning = keptStreams.every((stream) => {
          const known = history.streams[stream];
          return bytesOf(streams[stream].slice(0, known.length)) === bytesOf(known);
        });
        if (!isBeginning) {
          expect(hasFound(audit, again)).to.equal(true);
          counts.found++;
          return;
        }
        counts.after++;
        expect(audit.facts.messages.every((one) => genuine.has(one))).to.equal(true);
        if (hasFound(audit, again)) return;
        // What the earlier audit told still stands.
        expect(audit.facts.messages).to.include.members([...again.facts.messages]);
        expect(audit.facts.signings).to.include.members([...again.facts.signings]);
        expect(audit.findings).to.include.members([...again.findings]);
      }),
      run,
    );
    expect(counts.found, JSON.stringify(counts)).to.be.greaterThan(numRuns / 2);
    expect(counts.after, JSON.stringify(counts)).to.be.greaterThan(0);
  });
});
