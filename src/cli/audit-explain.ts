/** @module `thsm audit explain`: the story of one signature. */
import type { Command } from "commander";
import {
  explainSignings,
  formatFinding,
  formatStory,
  parseQuestion,
  questionsOfZone,
  type Question,
} from "../client/index.js";
import { HsmError } from "../errors.js";
import {
  jobsOf,
  tellVerified,
  withArithmetic,
  withHistory,
  withSource,
  type ArithmeticFlags,
  type SourceFlags,
} from "./audit-source.js";
import { print, say, type GlobalOptions } from "./context.js";
import { showProgress } from "./progress.js";

interface ExplainFlags extends SourceFlags, ArithmeticFlags {
  readonly zone?: string;
}

/** Nobody of the cluster asked for the signature, or something is wrong with how it was made. */
const found = 3;

export function addExplainCommand(program: Command, audit: Command): void {
  withArithmetic(withSource(audit.command("explain")))
    .description("who asked for a signature, which nodes made it, and whether all of it holds")
    .argument("<what...>", "a request id, a signature in base64, an RRSIG record; see below")
    .option("--zone <file>", "a signed zone: <what> is then a name, a type and maybe a key tag")
    .addHelpText(
      "after",
      `
Everything that is told was verified: the signatures of the messages, that the shares make the signature,
and that it verifies under the public key. The times are the NATS server's, and only as good as its word.

Exit code: 0 explained and in order, 3 nobody asked for it or something is wrong, 2 could not be read.

Examples:
  thsm audit explain --zone example.org.zone www A
  thsm audit explain --zone example.org.zone example.org. DNSKEY 12345
  thsm audit explain "$(dig +dnssec +noall +answer www.example.org A | grep RRSIG)"
  thsm audit explain "$(base64 -w0 file.sig)"
  thsm audit explain vD1mR1mPZ7Yt8Jq0K3xw5A`,
    )
    .action(async (what: string[], flags: ExplainFlags) => {
      const options = program.opts<GlobalOptions>();
      const questions = await questionsOf(what, flags.zone);
      await withHistory(flags, async ({ source, cluster }) => {
        const progress = showProgress();
        progress.update("looking for it");
        const { stories, otherFindings } = await explainSignings(source, cluster, questions, {
          threads: jobsOf(flags.jobs),
          onProgress: tellVerified(progress),
        });
        progress.end(stories.length === 0 ? "it is not in the history" : "explained");
        const text = stories.map(formatStory).join("\n\n");
        const nothing = "nobody of the cluster asked for this signature: it is not in the history";
        print(options, { version: 1, stories, otherFindings }, text === "" ? nothing : text);
        for (const finding of otherFindings) say(formatFinding(finding));
        const isInOrder = stories.every(({ findings, signatures }) =>
          [
            ...findings.map(({ severity }) => severity !== "finding"),
            ...signatures.map(({ isValid }) => isValid),
          ].every(Boolean),
        );
        const isClean = stories.length > 0 && isInOrder && otherFindings.length === 0;
        process.exitCode = isClean ? 0 : found;
      });
    });
}

async function questionsOf(
  what: readonly string[],
  zone: string | undefined,
): Promise<readonly Question[]> {
  if (zone === undefined) return [await parseQuestion(what.join(" "))];
  const [owner = "", type = "", tag, more] = what;
  const keyTag = Number(tag ?? 0);
  const isTag = tag === undefined || (/^\d{1,5}$/.test(tag) && keyTag <= 65_535);
  if (type === "" || !isTag || more !== undefined) {
    throw new HsmError(
      "ERR_INVALID_ARGUMENT",
      "with --zone say a name, a type and maybe a key tag, like: www A 12345",
    );
  }
  return await questionsOfZone(zone, { owner, type, ...(tag === undefined ? {} : { keyTag }) });
}
