/** @module What an audit has told: findings within its scope, and how many of each code. */
import type { AuditItem, AuditSummary } from "./audit-items.js";
import { isAbsence, toFinding, type FindingCode, type FindingFacts } from "./findings.js";
import { isInScope, type AuditScope } from "./scope.js";
import type { HistoryBounds } from "./sources.js";

export class Told {
  readonly #bounds: HistoryBounds;
  readonly #scope: AuditScope | undefined;
  readonly #byCode = new Map<FindingCode, number>();
  readonly #totals = { finding: 0, note: 0 };
  #items: AuditItem[] = [];
  #reports = 0;
  #inFlight = 0;
  #outOfScope = 0;

  constructor(bounds: HistoryBounds, scope: AuditScope | undefined) {
    this.#bounds = bounds;
    this.#scope = scope;
  }

  /** Of all that was reported, told or not. */
  get reports(): number {
    return this.#reports;
  }

  readonly report = (facts: FindingFacts): void => {
    const { code, stream, seq } = facts;
    this.#reports++;
    const bounds = stream === "THSM_DEAL" ? undefined : this.#bounds[stream];
    if (isAbsence(code) && (seq[0] ?? 0) > (bounds?.settled ?? 0)) {
      this.#inFlight++;
      return;
    }
    if (!isInScope(this.#scope, facts)) {
      this.#outOfScope++;
      return;
    }
    const finding = toFinding(facts);
    this.#byCode.set(code, (this.#byCode.get(code) ?? 0) + 1);
    this.#totals[finding.severity]++;
    this.add({ type: "finding", finding });
  };

  add(item: AuditItem): void {
    this.#items.push(item);
  }

  /** What there is to tell since the last call. */
  takeItems(): readonly AuditItem[] {
    const items = this.#items;
    if (items.length > 0) this.#items = [];
    return items;
  }

  summary(): Pick<AuditSummary, "inFlight" | "outOfScope" | "findings" | "notes" | "byCode"> {
    return {
      inFlight: this.#inFlight,
      outOfScope: this.#outOfScope,
      findings: this.#totals.finding,
      notes: this.#totals.note,
      byCode: Object.fromEntries(this.#byCode),
    };
  }
}
