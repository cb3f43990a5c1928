/**
 * @module Where in the streams a signing is that somebody asks about: a first look, without verifying
 * anything, that tells the second one what to verify.
 */
import { HsmError } from "../../errors.js";
import type { SigningResult } from "../../streams/audit-events.js";
import { readAuditEvent, readRequest } from "../../streams/open.js";
import type { SignRequest } from "../../streams/requests.js";
import type { Question } from "./question.js";
import type { HistorySource } from "./sources.js";

/** One signing: the id of its first request, and those of all its requests. */
export interface Target {
  readonly client: string;
  readonly rid: string;
  readonly requests: ReadonlySet<string>;
}

/** Every signing that a question is about: the same data may have been signed twice. */
export async function findTargets(
  source: HistorySource,
  questions: readonly Question[],
): Promise<Target[]> {
  const roots = new Set<string>();
  const rids = new Set(questions.flatMap((one) => ("rid" in one ? [one.rid] : [])));
  const signatures = questions.flatMap((one) => ("signature" in one ? [one.signature] : []));
  if (signatures.length > 0) {
    for await (const { client, rid } of resultsWith(source, signatures)) {
      roots.add(nameOf(client, rid));
    }
  }
  // Few requests have others that follow them.
  const escalations = new Map<string, string[]>();
  for await (const { client, rid, of } of requestsOf(source)) {
    const root = nameOf(client, of ?? rid);
    if (rids.has(rid)) roots.add(root);
    if (of !== undefined) escalations.set(root, [...(escalations.get(root) ?? []), rid]);
  }
  return [...roots].map((name) => {
    const [client = "", rid = ""] = name.split(" ");
    return { client, rid, requests: new Set([rid, ...(escalations.get(name) ?? [])]) };
  });
}

async function* resultsWith(
  source: HistorySource,
  signatures: readonly string[],
): AsyncGenerator<SigningResult> {
  for await (const entry of source.entries("THSM_AUDIT")) {
    if (!("message" in entry)) continue;
    // Most entries are others': a search of bytes is cheaper than reading them.
    const bytes = Buffer.from(entry.message.payload);
    if (!signatures.some((signature) => bytes.includes(signature))) continue;
    const body = readable(() => readAuditEvent(entry.message));
    if (body?.type === "result") yield body;
  }
}

async function* requestsOf(source: HistorySource): AsyncGenerator<SignRequest> {
  for await (const entry of source.entries("THSM_REQ")) {
    if (!("message" in entry)) continue;
    const body = readable(() => readRequest(entry.message));
    if (body !== undefined) yield body;
  }
}

/** What is no message of ours is the verification's to tell. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof HsmError) return undefined;
    throw error;
  }
}

function nameOf(client: string, rid: string): string {
  return `${client} ${rid}`;
}
