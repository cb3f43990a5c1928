/**
 * @module A signed zone against the log: every RRSIG by an RSA key must be a signature that a client of the
 * cluster recorded; what the log has beyond the zone is what signers do all day, and is counted.
 */
import { hash } from "node:crypto";
import type { Cluster } from "../../identity/cluster.js";
import { oneLine } from "../one-line.js";
import type { AuditItem } from "./audit-items.js";
import { rrsigOf, rsaAlgorithms, zoneKeyOf, type Rrsig, type ZoneKey } from "./master-file.js";
import { readZone } from "./question.js";
import type { HistorySource } from "./sources.js";
import { replayHistory, type VerifyOptions } from "./verify.js";
import { Who } from "./who.js";

/** An RRSIG that the log does not have, or has as one that does not verify. */
export interface ZoneFinding extends Omit<Rrsig, "signature"> {
  readonly code: "ZONE_SIGNATURE_NOT_RECORDED" | "ZONE_SIGNATURE_WRONG";
  /** Id of the cluster's key that the zone publishes with this tag, if it is one. */
  readonly key?: string;
  /** One sentence for a person. */
  readonly text: string;
}

/** What zone and log know of one key. */
export interface ZoneKeyReport {
  readonly key: string;
  readonly label: string;
  /** Tags of its DNSKEY records; none when the zone publishes it no more. */
  readonly keyTags: readonly number[];
  readonly inZone: number;
  /** Recorded signatures that the zone has not: replaced since, never published, or of something else. */
  readonly elsewhere: { readonly count: number; readonly first?: string; readonly last?: string };
  /** Requests that ended without signatures. */
  readonly failed: number;
}

export interface ZoneReport {
  readonly version: 1;
  readonly rrsigs: number;
  readonly matched: number;
  /** RRSIGs of other algorithms than RSA, which this cluster cannot have made. */
  readonly otherAlgorithms: number;
  readonly findings: readonly ZoneFinding[];
  readonly keys: readonly ZoneKeyReport[];
  /** What is wrong with the history itself; `verifyHistory` tells it. */
  readonly historyFindings: number;
}

type Wanted = Omit<Rrsig, "signature"> & { state: "missing" | "found" | "wrong" };

interface KeyTally {
  inZone: number;
  elsewhere: number;
  first?: string;
  last?: string;
  failed: number;
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` for no zone file, and what reading the history throws */
export async function auditZone(
  file: string,
  source: HistorySource,
  cluster: Cluster,
  options: Pick<VerifyOptions, "threads" | "onProgress" | "signal"> = {},
): Promise<ZoneReport> {
  const zone = await read(file);
  const log = new Log(zone);
  // The recorded signatures are what counts; whether shares make them again `verifyHistory` tells.
  const wanted = { ...options, recombine: false, events: true, signings: true } as const;
  for await (const item of replayHistory(source, cluster, wanted)) log.see(item);
  return log.report();
}

interface Zone {
  readonly rrsigs: number;
  readonly otherAlgorithms: number;
  /** Digest of a signature → the records that have it. */
  readonly wanted: ReadonlyMap<string, Wanted[]>;
  readonly keys: readonly ZoneKey[];
}

async function read(file: string): Promise<Zone> {
  const wanted = new Map<string, Wanted[]>();
  const keys: ZoneKey[] = [];
  let rrsigs = 0;
  let otherAlgorithms = 0;
  for await (const record of readZone(file)) {
    if (record.type === "DNSKEY") keys.push(...[zoneKeyOf(record) ?? []].flat());
    if (record.type !== "RRSIG") continue;
    rrsigs++;
    const { signature, ...rrsig } = rrsigOf(record);
    if (!rsaAlgorithms.has(rrsig.algorithm)) {
      otherAlgorithms++;
      continue;
    }
    const name = nameOf(signature);
    wanted.set(name, [...(wanted.get(name) ?? []), { ...rrsig, state: "missing" }]);
  }
  return { rrsigs, otherAlgorithms, wanted, keys };
}

/** What the log says of the zone's signatures. */
class Log {
  readonly #zone: Zone;
  readonly #who = new Who();
  readonly #tallies = new Map<string, KeyTally>();
  #historyFindings = 0;

  constructor(zone: Zone) {
    this.#zone = zone;
  }

  see(item: AuditItem): void {
    if (item.type === "event") this.#who.see(item.event);
    else if (item.type === "finding") {
      if (item.finding.severity === "finding") this.#historyFindings++;
    } else {
      const { signing, verdict } = item;
      const closing = signing.closing?.body;
      const request = signing.attempts[0]?.body;
      if (request?.kind !== "sign") return;
      const tally = this.#tallyOf(request.key);
      if (closing?.type !== "result") {
        tally.failed++;
        return;
      }
      for (const [index, signature] of closing.signatures.entries()) {
        const isValid = verdict?.wrongSignatures.includes(index + 1) === false;
        const records = this.#zone.wanted.get(nameOf(signature)) ?? [];
        for (const record of records) {
          // One record that verifies is enough, whatever others claim.
          if (record.state !== "found") record.state = isValid ? "found" : "wrong";
        }
        if (records.length > 0) tally.inZone += records.length;
        else {
          tally.elsewhere++;
          tally.first ??= closing.time;
          tally.last = closing.time;
        }
      }
    }
  }

  report(): ZoneReport {
    const { rrsigs, otherAlgorithms, wanted } = this.#zone;
    const records = [...wanted.values()].flat();
    return {
      version: 1,
      rrsigs,
      matched: records.filter(({ state }) => state === "found").length,
      otherAlgorithms,
      findings: records.flatMap((record) => this.#findingOf(record)),
      keys: this.#keys(),
      historyFindings: this.#historyFindings,
    };
  }

  #findingOf({ state, ...rrsig }: Wanted): ZoneFinding[] {
    if (state === "found") return [];
    const { owner, covered, keyTag, line, inception } = rrsig;
    const published = this.#zone.keys.find((one) => one.keyTag === keyTag);
    const key = this.#who.keyOf(published?.modulus ?? "")?.key;
    const whose =
      key === undefined
        ? "which is no key of this cluster"
        : `the cluster's key ${key}: nobody of the cluster asked for it`;
    const what = `line ${line}: the signature of ${owner} ${covered}, from ${inception}, by key ${keyTag}, ${whose}`;
    const isWrong = state === "wrong";
    return [
      {
        ...rrsig,
        code: isWrong ? "ZONE_SIGNATURE_WRONG" : "ZONE_SIGNATURE_NOT_RECORDED",
        ...(key === undefined ? {} : { key }),
        text: isWrong ? `${what}; it is recorded, and does not verify` : what,
      },
    ];
  }

  /** The zone's keys: those that it publishes, and those whose signatures it has. */
  #keys(): ZoneKeyReport[] {
    const published = this.#zone.keys.flatMap(({ modulus, keyTag }) => {
      const proposal = this.#who.keyOf(modulus);
      return proposal === undefined ? [] : [{ key: proposal.key, keyTag }];
    });
    const inUse = [...this.#tallies].filter(([, { inZone }]) => inZone > 0).map(([key]) => key);
    return [...new Set([...published.map(({ key }) => key), ...inUse])].map((key) => {
      const { inZone, elsewhere, first, last, failed } = this.#tallyOf(key);
      return {
        key,
        label: this.#who.key(key)?.label ?? "",
        keyTags: published.filter((one) => one.key === key).map(({ keyTag }) => keyTag),
        inZone,
        elsewhere: {
          count: elsewhere,
          ...(first === undefined ? {} : { first }),
          ...(last === undefined ? {} : { last }),
        },
        failed,
      };
    });
  }

  #tallyOf(key: string): KeyTally {
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { inZone: 0, elsewhere: 0, failed: 0 };
      this.#tallies.set(key, tally);
    }
    return tally;
  }
}

/** Lines, without a line feed at the end. */
export function formatZoneReport(report: ZoneReport): string {
  const { rrsigs, matched, otherAlgorithms, findings, keys, historyFindings } = report;
  const others = otherAlgorithms === 0 ? "" : `, ${otherAlgorithms} are not RSA`;
  const lines = [
    ...findings.map(({ code, text }) => `FINDING ${code} ${text}`),
    ...keys.map(({ key, label, keyTags, inZone, elsewhere, failed }) => {
      const tags = keyTags.length === 0 ? "not published" : `tag ${keyTags.join(", ")}`;
      const { count, first, last } = elsewhere;
      const when = first === undefined ? "" : `, ${first} to ${last}`;
      return `key ${key} ${JSON.stringify(label)} (${tags}): ${inZone} in the zone; recorded and not in the zone: ${count}${when}; requests without signatures: ${failed}`;
    }),
    `${rrsigs} RRSIGs: ${matched} are recorded, ${findings.length} findings${others}`,
    ...(historyFindings === 0
      ? []
      : [`the history itself has ${historyFindings} findings: see thsm audit verify`]),
  ];
  return lines.map(oneLine).join("\n");
}

/** Shorter than a signature: a zone may have millions. */
function nameOf(signature: string): string {
  return hash("sha256", signature, "base64url").slice(0, 22);
}
