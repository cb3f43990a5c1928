/** @module The verdict, and what is wrong: what a reader has to know first. */
import { adviceFor, severities, type Finding, type FindingCode } from "../../client/index.js";
import { count, counted } from "./format.js";
import { foreign, markup, type Html } from "./markup.js";
import type { Report } from "./page.js";
import { table } from "./table.js";

export function verdict({ summary, isRecombined }: Report): Html {
  const { findings, notes, notVerified, signaturesValid, signaturesRecombined } = summary;
  const messages = Object.values(summary.streams).reduce((sum, one) => sum + one.messages, 0);
  const isClean = findings === 0;
  const title = isClean
    ? "Nothing is wrong"
    : `${counted(findings, "finding")}: this history is not what honest members leave behind`;
  const made = isRecombined
    ? `${count(signaturesRecombined)} of them were made again from the shares on record`
    : "they were not made again from their shares (--no-recombine)";
  const left = [
    ...(notVerified === 0
      ? []
      : [`${counted(notVerified, "input")} outside of what was asked for`]),
    ...(summary.inFlight === 0 ? [] : [`${counted(summary.inFlight, "check")} for the next audit`]),
  ];
  return markup`<section class="verdict ${isClean ? "good" : "bad"}" aria-label="Verdict">
<span class="sign" aria-hidden="true">${isClean ? "✓" : "✗"}</span>
<div><strong>${title}</strong>
<p>${counted(messages, "message")} were checked against their senders' keys and each other. ${counted(signaturesValid, "signature")}
verify under their public key, tests of new keys included; ${made}.${notes === 0 ? "" : ` ${counted(notes, "note")}.`}</p>
${left.length === 0 ? "" : markup`<p>Not verified: ${left.join(", ")}.</p>`}</div>
</section>`;
}

export function findingsSection({ summary, findings }: Report): Html {
  const codes = Object.keys(severities)
    .filter(isCode)
    .map((code): [FindingCode, number] => [code, summary.byCode[code] ?? 0])
    .filter(([, many]) => many > 0);
  const of = (severity: "finding" | "note"): Html => {
    const kinds = codes.filter(([code]) => severities[code] === severity);
    const listed = findings.filter((one) => one.severity === severity);
    const all = kinds.reduce((sum, [, many]) => sum + many, 0);
    const what = severity === "finding" ? "Finding" : "Note";
    return markup`${table(
      severity === "finding" ? "What was found, by kind" : "Worth knowing, and no finding",
      [what, "#Times", "It means", "What to do"],
      kinds
        .toSorted(([, one], [, other]) => other - one)
        .map(([code, many]) => {
          const { meaning, advice } = adviceFor[code];
          return [markup`<code>${code}</code>`, count(many), meaning, advice];
        }),
    )}${table(
      all > listed.length ? `The first ${listed.length} of ${count(all)}` : "Each of them",
      ["Where", "What", "Kind"],
      listed.map((one) => [where(one), foreign(one.text), markup`<code>${one.code}</code>`]),
    )}`;
  };
  if (codes.length === 0) return markup``;
  return markup`<section><h2>${summary.findings > 0 ? "What is wrong" : "Notes"}</h2>
${of("finding")}
${summary.findings > 0 && summary.notes > 0 ? markup`<h2>Notes</h2>` : ""}${of("note")}</section>`;
}

function where({ stream, seq }: Finding): Html {
  return markup`<code>${stream} ${seq.join(", ")}</code>`;
}

function isCode(text: string): text is FindingCode {
  return Object.hasOwn(severities, text);
}
