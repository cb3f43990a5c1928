/** @module From the arithmetic of one signing to what is told of it. */
import type { SigningResult } from "../../streams/audit-events.js";
import type { Blames } from "./blames.js";
import type { FindingCode, FindingFacts, Report } from "./findings.js";
import type { KeyRecord } from "./key-history.js";
import type { Verdict } from "./recombine.js";
import type { SigningJob } from "./signing-job.js";
import type { Signing } from "./signing.js";

type About = Pick<FindingFacts, "client" | "key" | "rid" | "session" | "time">;

/** The work that a signing is; undefined when there is nothing to compute with. */
export function jobOf(
  signing: Signing,
  key: KeyRecord | undefined,
  recombine: boolean,
): SigningJob | undefined {
  const terms = signing.attempts[0]?.body;
  if (terms === undefined || key === undefined) return undefined;
  const result = resultOf(signing);
  return {
    group: key.group,
    terms,
    answers: signing.answers,
    ...(result === undefined ? {} : { result }),
    // A key's test is what its activation rests on.
    recombine: recombine || terms.kind === "test",
  };
}

/** Whether every input of the signing is known to have a valid signature. */
export function isSigned(signing: Signing, verdict: Verdict): boolean {
  return verdict.valid === signing.attempts[0]?.body.inputs.length;
}

/** Reports what is wrong with a settled signing. */
export function tellSigning(
  signing: Signing,
  key: KeyRecord | undefined,
  verdict: Verdict | undefined,
  blames: Blames,
  report: Report,
): void {
  const request = signing.attempts[0];
  if (request === undefined) return;
  const { rid, client, key: keyId, session, expires } = request.body;
  const time = signing.closing?.body.time ?? expires;
  const about = { client, key: keyId, rid, session, time };
  const atRequest = { ...about, stream: "THSM_REQ", seq: [request.seq] } as const;
  const subject = `request ${rid} of client ${client}, valid until ${expires},`;

  if (key === undefined) {
    const text = `${subject} is for key ${keyId}, which was never proposed`;
    report({ ...atRequest, code: "AUDIT_REQUEST_UNKNOWN_KEY", text });
  }
  if (signing.closing === undefined && request.body.kind === "sign") {
    const made = verdict?.recombined ?? 0;
    const what =
      made > 0 ? `though its shares make ${made} signatures` : "nor shares that make one";
    const text = `${subject} has no recorded result, ${what}`;
    report({ ...atRequest, code: "AUDIT_REQUEST_WITHOUT_RESULT", text });
  }
  const result = resultOf(signing);
  if (result !== undefined) {
    tellResult({ signing, key, result, verdict, blames, about, report });
  }
  if (verdict === undefined) return;
  if (verdict.unencodable !== undefined && signing.answers.length > 0) {
    const text = `${subject} was answered with shares though there is nothing to sign: ${verdict.unencodable}`;
    report({ ...atRequest, code: "AUDIT_SHARE_AGAINST_POLICY", text });
  }
  if (result === undefined && verdict.inconsistent.length > 0) {
    const nodes = signing.answers.map(({ node }) => node).join(", ");
    const text = `${subject} has shares of ${nodes} of which no quorum makes a signature of input ${verdict.inconsistent.join(", ")}`;
    report({ ...atRequest, code: "AUDIT_SUSPECT_SHARE", text });
  }
  tellShares(signing, verdict, about, report);
  if (result !== undefined) tellFalseBlame(signing, verdict, result, { blames, about, report });
}

interface ResultFacts {
  readonly signing: Signing;
  readonly key: KeyRecord | undefined;
  readonly result: SigningResult;
  readonly verdict: Verdict | undefined;
  readonly blames: Blames;
  readonly about: About;
  readonly report: Report;
}

function tellResult(facts: ResultFacts): void {
  const { signing, key, result, verdict, blames, about, report } = facts;
  const seq = signing.closing?.seq ?? 0;
  const tell = (code: FindingCode, what: string, node?: string): void =>
    report({
      ...about,
      ...(node === undefined ? {} : { node }),
      code,
      stream: "THSM_AUDIT",
      seq: [seq],
      text: `the result of request ${result.rid} that client ${result.client} recorded at ${result.time} ${what}`,
    });
  if (key === undefined || verdict?.unencodable !== undefined) {
    tell(
      "AUDIT_RESULT_WITHOUT_QUORUM",
      "cannot be right: there is no such key, or nothing to sign",
    );
    return;
  }
  const { quorum } = result;
  const { threshold } = key.proposal;
  const missing = quorum.filter((party) => signing.answers.every((one) => one.party !== party));
  if (quorum.length !== threshold) {
    tell(
      "AUDIT_RESULT_WITHOUT_QUORUM",
      `names ${quorum.length} parties where it takes ${threshold}`,
    );
  } else if (missing.length > 0) {
    for (const party of missing) {
      const node = key.proposal.parties[party - 1] ?? String(party);
      // Only what the node signed shows that it is to blame, and not the client.
      const isShown = signing.attempts.some(({ hash }) => blames.answered(node, hash));
      const why = isShown ? "; the client has the share, signed by the node" : "";
      tell(
        "AUDIT_RESULT_WITHOUT_QUORUM",
        `names node ${node}, whose shares are not stored${why}`,
        isShown ? node : undefined,
      );
    }
  } else if (
    verdict !== undefined &&
    [...verdict.otherQuorum, ...verdict.inconsistent].length > 0
  ) {
    tell(
      "AUDIT_RESULT_WITHOUT_QUORUM",
      "names nodes whose stored shares do not make its signatures",
    );
  }
  const wrong = verdict?.wrongSignatures ?? [];
  if (wrong.length > 0) {
    tell("AUDIT_RESULT_WRONG_SIGNATURE", `has wrong signatures of input ${wrong.join(", ")}`);
  }
}

function tellShares(
  { answers }: Signing,
  { culprits, suspects, wrongProofs }: Verdict,
  about: About,
  report: Report,
): void {
  const tell = (party: number, code: FindingCode, what: string): void => {
    const answer = answers.find((one) => one.party === party);
    if (answer === undefined) return;
    const { node, seq } = answer;
    const text = `node ${node} answered request ${about.rid} of client ${about.client} with ${what}`;
    report({ ...about, code, stream: "THSM_SHARE", seq: [seq], node, text });
  };
  const right = answers.filter(
    ({ party }) => !culprits.includes(party) && !suspects.includes(party),
  );
  const nodes = right.map(({ node }) => node).join(", ");
  for (const party of culprits) {
    tell(party, "AUDIT_WRONG_SHARE", `a wrong share, as the shares of ${nodes} prove`);
  }
  for (const party of suspects) {
    tell(
      party,
      "AUDIT_SUSPECT_SHARE",
      `a share that does not go with those of ${nodes}; a share proof would tell who is wrong`,
    );
  }
  for (const party of wrongProofs)
    tell(party, "AUDIT_WRONG_PROOF", "a share proof that does not hold");
}

/**
 * A culprit is who is proven one, by its shares or by what clients show of it, not who is called one. Of an answer that
 * cannot be judged it is told by itself what is wrong with it.
 */
function tellFalseBlame(
  { answers, attempts, closing }: Signing,
  { culprits, suspects, wrongProofs, recombined }: Verdict,
  { culprits: blamed = [], client, rid, time }: SigningResult,
  { blames, about, report }: Pick<ResultFacts, "blames" | "about" | "report">,
): void {
  if (recombined !== attempts[0]?.body.inputs.length) return;
  const [seq, wrong] = [closing?.seq ?? 0, [...culprits, ...suspects, ...wrongProofs]];
  for (const node of blamed) {
    const answer = answers.find((one) => one.node === node);
    const isUnjudged = answer === undefined && attempts.some(({ answered }) => answered.has(node));
    if (isUnjudged || wrong.includes(answer?.party ?? 0) || blames.isProven(node, seq)) continue;
    const what =
      answer === undefined ? "nothing on record proves it" : "its stored shares are right";
    report({
      ...about,
      code: "AUDIT_RESULT_FALSE_BLAME",
      stream: "THSM_AUDIT",
      seq: [seq, ...(answer === undefined ? [] : [answer.seq])],
      node,
      text: `client ${client} called node ${node} a culprit of request ${rid} at ${time}, but ${what}`,
    });
  }
}

function resultOf({ closing }: Signing): SigningResult | undefined {
  return closing?.body.type === "result" ? closing.body : undefined;
}
