/** @module An audit to its end, over a history in memory. */
import { parseEntry } from "../../../src/client/audit/ndjson.js";
import type { Finding, FindingCode } from "../../../src/client/audit/findings.js";
import {
  byStream,
  type HistorySource,
  type KeptStream,
} from "../../../src/client/audit/sources.js";
import type { AuditSummary } from "../../../src/client/audit/audit-items.js";
import { verifyHistory, type VerifyOptions } from "../../../src/client/audit/verify.js";
import type { Cluster } from "../../../src/identity/cluster.js";
import { toBase64url } from "../../../src/identity/encoding.js";
import type { Streams } from "./history.js";

export interface Audited {
  readonly findings: Finding[];
  readonly summary: AuditSummary;
  /** Codes of findings, without those of notes; each once, sorted. */
  readonly codes: FindingCode[];
}

export function memoryHistory(streams: Streams): HistorySource {
  const ends = (stream: KeptStream) => {
    const last = Math.max(0, ...streams[stream].map(({ seq }) => seq));
    return { first: 1, settled: last, last };
  };
  return {
    bounds: () => Promise.resolve(byStream(ends)),
    async *entries(stream, from = 1) {
      for (const { seq, time, subject, payload, signature } of streams[stream]) {
        if (seq < from) continue;
        const payloadBase64url = toBase64url(payload);
        yield await Promise.resolve(
          parseEntry(stream, JSON.stringify({ seq, time, subject, payloadBase64url, signature })),
        );
      }
    },
  };
}

export async function audited(
  { streams, cluster }: { streams: Streams; cluster: Cluster },
  options: VerifyOptions = {},
): Promise<Audited> {
  return await auditedSource(memoryHistory(streams), cluster, options);
}

export async function auditedSource(
  source: HistorySource,
  cluster: Cluster,
  options: VerifyOptions = {},
): Promise<Audited> {
  const audit = verifyHistory(source, cluster, options);
  const findings: Finding[] = [];
  for (;;) {
    const step = await audit.next();
    if (step.done === true) {
      const real = findings.filter(({ severity }) => severity === "finding");
      const codes = [...new Set(real.map(({ code }) => code))].toSorted();
      return { findings, summary: step.value, codes };
    }
    findings.push(step.value);
  }
}
