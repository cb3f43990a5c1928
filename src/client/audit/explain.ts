/**
 * @module The story of one signing, out of verified messages only: who asked, when, through which program,
 * which nodes were asked, what each did, who made the signatures, and what is wrong with it.
 */
import type { Cluster } from "../../identity/cluster.js";
import type { AuditedEvent } from "./audit-items.js";
import type { Finding } from "./findings.js";
import { findTargets, type Target } from "./find.js";
import { namedText } from "./named.js";
import type { Question } from "./question.js";
import type { Verdict } from "./recombine.js";
import type { Signing } from "./signing.js";
import type { HistorySource, KeptStream } from "./sources.js";
import { replayHistory, type VerifyOptions } from "./verify.js";
import { Who } from "./who.js";

/** One message of a signing, in its place. */
export interface Step {
  readonly stream: KeptStream;
  readonly seq: number;
  readonly hash: string;
  /** When the server says that it stored it. */
  readonly stored: string;
  /** Signed by. */
  readonly by: string;
  readonly text: string;
}

/** What one node did in one signing. */
export interface NodePart {
  readonly node: string;
  /** Of each request: its number, and when this node answered after it was stored, by the server's clock. */
  readonly asked: readonly { readonly attempt: number; readonly answeredAfterMs?: number }[];
  readonly did: "shares" | "refusal" | "silence";
  /** Of a refusal. */
  readonly code?: string;
  readonly reason?: string;
  /** Whether its shares are in the signatures. */
  readonly isInQuorum: boolean;
}

export interface SigningStory {
  readonly client: string;
  readonly rid: string;
  readonly session: string;
  /** As the session's program called itself. */
  readonly application?: string;
  readonly token?: string;
  readonly key: string;
  readonly label?: string;
  readonly threshold?: number;
  readonly kind: string;
  readonly encoding: string;
  readonly hash?: string;
  /** Hex. */
  readonly inputs: readonly string[];
  readonly outcome: "signed" | "failed" | "open";
  readonly code?: string;
  readonly reason?: string;
  readonly nodes: readonly NodePart[];
  /** Nodes whose shares were combined. */
  readonly quorum: readonly string[];
  readonly elapsedMs?: number;
  /** Base64, with whether each verifies under the public key. */
  readonly signatures: readonly { readonly signature: string; readonly isValid: boolean }[];
  /** How many were made again from the stored shares. */
  readonly recombined: number;
  /** Nodes whose shares are proven wrong. */
  readonly culprits: readonly string[];
  readonly steps: readonly Step[];
  /** About this signing. */
  readonly findings: readonly Finding[];
}

export interface Explanation {
  readonly stories: readonly SigningStory[];
  /** Findings of the history that name no request: gaps, forged messages. */
  readonly otherFindings: readonly Finding[];
}

/**
 * Explains every signing that the questions are about; no stories when the history has none.
 * @throws HsmError what reading throws
 */
export async function explainSignings(
  source: HistorySource,
  cluster: Cluster,
  questions: readonly Question[],
  options: Pick<VerifyOptions, "threads" | "onProgress" | "signal"> = {},
): Promise<Explanation> {
  const targets = await findTargets(source, questions);
  if (targets.length === 0) return { stories: [], otherFindings: [] };
  const tellers = targets.map((target) => new Teller(target));
  const who = new Who();
  const otherFindings: Finding[] = [];
  const requests = new Set(targets.flatMap((target) => [...target.requests]));
  const scope = { requests };
  const wanted = { ...options, scope, events: true, signings: true } as const;
  for await (const item of replayHistory(source, cluster, wanted)) {
    if (item.type === "event") {
      who.see(item.event);
      for (const teller of tellers) teller.event(item.event, who);
    } else if (item.type === "signing") {
      for (const teller of tellers) teller.signing(item.signing, item.verdict);
    } else {
      const { finding } = item;
      const isTaken = tellers.filter((teller) => teller.finding(finding)).length > 0;
      if (!isTaken && finding.severity === "finding") otherFindings.push(finding);
    }
  }
  const stories = tellers.flatMap((teller) => teller.story(who) ?? []);
  return { stories, otherFindings };
}

/** Collects what belongs to one signing. */
class Teller {
  readonly #target: Target;
  readonly #steps: Step[] = [];
  readonly #findings: Finding[] = [];
  /** Node → its answers, oldest first. */
  readonly #answers = new Map<
    string,
    { rid: string; storedMs: number; code: string | undefined; reason: string | undefined }[]
  >();
  readonly #askedMs = new Map<string, number>();
  #signing: Signing | undefined;
  #verdict: Verdict | undefined;

  constructor(target: Target) {
    this.#target = target;
  }

  event({ stream, message, body }: AuditedEvent, who: Who): void {
    const { client, requests } = this.#target;
    if (body === undefined || !("rid" in body) || body.rid === undefined) return;
    if (body.client !== client || !requests.has(body.rid)) return;
    const storedMs = Date.parse(message.time);
    const step = (by: string, text: string): void => {
      const { seq, hash, time: stored } = message;
      this.#steps.push({ stream, seq, hash, stored, by, text });
    };
    if ("inputs" in body) {
      const nodes = who.parties(body.key, body.parties).join(", ");
      const what = { sign: "asked", test: "tested", explain: "asked to explain" }[body.kind];
      const how = body.attempt > 1 ? `attempt ${body.attempt}: asked ${nodes} as well` : what;
      this.#askedMs.set(body.rid, storedMs);
      const text = body.attempt > 1 ? how : `${what} ${nodes} for ${count(body.inputs.length)}`;
      step(`client ${client}`, `${text}, until ${body.expires}`);
    } else if ("kind" in body) {
      const { node, rid, kind, code, reason } = body;
      const answer = { rid, storedMs, code, reason };
      this.#answers.set(node, [...(this.#answers.get(node) ?? []), answer]);
      const what = kind === "refusal" ? `refused: ${reason} (${code})` : `answered with ${kind}`;
      step(`node ${node}`, what);
    } else if (body.type === "result") {
      const quorum = who.parties(body.key, body.quorum).join(", ");
      const signed = `signed with the shares of ${quorum} in ${body.elapsedMs} ms`;
      step(`client ${client}`, `${signed}${namedText(body)}`);
    } else if (body.type === "failure") {
      step(`client ${client}`, `gave up: ${body.reason} (${body.code})`);
    } else if (body.type === "misbehaviour") {
      step(`client ${client}`, `says of node ${body.node}: ${body.verdict}, ${body.text}`);
    }
  }

  signing(signing: Signing, verdict: Verdict | undefined): void {
    const { client, rid } = signing.attempts[0]?.body ?? {};
    if (client !== this.#target.client || rid !== this.#target.rid) return;
    this.#signing = signing;
    this.#verdict = verdict;
  }

  /** Whether the finding is about this signing. */
  finding(finding: Finding): boolean {
    const { rid, client } = finding;
    const isOwn = rid !== undefined && this.#target.requests.has(rid);
    if (!isOwn || (client !== undefined && client !== this.#target.client)) return false;
    this.#findings.push(finding);
    return true;
  }

  /** Undefined when none of its requests was signed by its client. */
  story(who: Who): SigningStory | undefined {
    const signing = this.#signing;
    const first = signing?.attempts[0]?.body;
    if (signing === undefined || first === undefined) return undefined;
    const { client, rid, session, key, kind, encoding, hash, inputs } = first;
    const { application, token } = who.session(first) ?? {};
    const { label, threshold } = who.key(key) ?? {};
    const closing = signing.closing?.body;
    const result = closing?.type === "result" ? closing : undefined;
    const failure = closing?.type === "failure" ? closing : undefined;
    const quorum = who.parties(key, result?.quorum ?? []);
    const wrong = this.#verdict?.wrongSignatures ?? [];
    return {
      client,
      rid,
      session,
      ...(application === undefined ? {} : { application }),
      ...(token === undefined ? {} : { token }),
      key,
      ...(label === undefined ? {} : { label }),
      ...(threshold === undefined ? {} : { threshold }),
      kind,
      encoding,
      ...(hash === undefined ? {} : { hash }),
      inputs,
      outcome: result !== undefined ? "signed" : failure !== undefined ? "failed" : "open",
      ...(failure === undefined ? {} : { code: failure.code, reason: failure.reason }),
      nodes: this.#parts(signing, who, quorum),
      quorum,
      ...(result === undefined ? {} : { elapsedMs: result.elapsedMs }),
      signatures: (result?.signatures ?? []).map((signature, index) => ({
        signature: Buffer.from(signature, "base64url").toString("base64"),
        isValid: this.#verdict !== undefined && !wrong.includes(index + 1),
      })),
      recombined: this.#verdict?.recombined ?? 0,
      culprits: who.parties(key, this.#verdict?.culprits ?? []),
      steps: this.#steps.toSorted((one, other) => (one.stored < other.stored ? -1 : 1)),
      findings: this.#findings,
    };
  }

  #parts({ attempts }: Signing, who: Who, quorum: readonly string[]): NodePart[] {
    const nodes = new Set(attempts.flatMap(({ body }) => who.parties(body.key, body.parties)));
    return [...nodes].map((node) => {
      const answers = this.#answers.get(node) ?? [];
      const asked = attempts
        .filter(({ body }) => who.parties(body.key, body.parties).includes(node))
        .map(({ body: { attempt, rid } }) => {
          const answer = answers.find((one) => one.rid === rid);
          const afterMs = (answer?.storedMs ?? 0) - (this.#askedMs.get(rid) ?? 0);
          return { attempt, ...(answer === undefined ? {} : { answeredAfterMs: afterMs }) };
        });
      const [answer] = answers;
      const { code, reason } = answer ?? {};
      const did = answer === undefined ? "silence" : code === undefined ? "shares" : "refusal";
      return {
        node,
        asked,
        did,
        ...(code === undefined ? {} : { code }),
        ...(reason === undefined ? {} : { reason }),
        isInQuorum: quorum.includes(node),
      };
    });
  }
}

function count(inputs: number): string {
  return inputs === 1 ? "1 signature" : `${inputs} signatures`;
}
