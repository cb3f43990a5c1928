/** @module A signing's story for a person. */
import { oneLine } from "../one-line.js";
import { formatFinding } from "./report.js";
import type { NodePart, SigningStory } from "./explain.js";

/** Lines, without a line feed at the end. */
export function formatStory(story: SigningStory): string {
  const { client, rid, session, key, encoding, hash, outcome, quorum, signatures } = story;
  const application = story.application ?? "a program that its session does not name";
  const ended = {
    signed: `signed in ${story.elapsedMs} ms with the shares of ${quorum.join(", ")}`,
    failed: `failed: ${story.reason} (${story.code})`,
    open: "no end is recorded",
  }[outcome];
  const lines = [
    `request ${rid}: ${ended}`,
    field("asked by", `client ${client}, ${application}`),
    field("session", `${session} on token ${story.token ?? "unknown"}`),
    field(
      "key",
      `${key} ${JSON.stringify(story.label ?? "")}, any ${story.threshold} of its nodes`,
    ),
    field("to sign", `${[encoding, hash].filter(Boolean).join(" with ")} (${story.kind})`),
    ...story.inputs.map((input, index) => field(`  ${index + 1}`, input)),
    "",
    ...story.steps.map(
      ({ stored, stream, seq, by, text }) =>
        `  ${stored.slice(0, 24).padEnd(24)} ${`${stream} ${seq}`.padEnd(18)} ${by} ${text}`,
    ),
    "",
    ...story.nodes.map((part) => field(`node ${part.node}`, partText(part, story))),
    ...signatures.map(({ signature, isValid }, index) =>
      field(
        `signature ${index + 1}`,
        `${signature.slice(0, 24)}… ${isValid ? "verifies under the public key" : "DOES NOT VERIFY"}`,
      ),
    ),
    field("made again", `${story.recombined} of ${story.inputs.length} from the stored shares`),
    ...story.findings.map(formatFinding),
  ];
  return lines.map(oneLine).join("\n");
}

function partText({ asked, did, code, reason, isInQuorum, node }: NodePart, story: SigningStory) {
  const when = asked.map(({ attempt, answeredAfterMs }) => {
    const after = answeredAfterMs === undefined ? "no answer" : `after ${answeredAfterMs} ms`;
    return asked.length === 1 ? after : `attempt ${attempt} ${after}`;
  });
  if (did === "silence") return "was asked, and is silent";
  if (did === "refusal") return `refused ${when.join(", ")}: ${reason} (${code})`;
  const use = isInQuorum ? "is in the signature" : "was not needed";
  const blame = story.culprits.includes(node) ? "; its share is WRONG" : "";
  return `gave shares ${when.join(", ")}, ${blame === "" ? use : "not in the signature"}${blame}`;
}

function field(name: string, text: string): string {
  return `  ${name.padEnd(12)} ${text}`;
}
