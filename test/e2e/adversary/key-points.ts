/** @module Every point of a key's life at which something can die, and how it is recognised on the bus. */

import type { Chance } from "../../support/random.js";

/** On its way to the stream, or just stored: the server repeats what it has stored. */
export type Stage = "sent" | "stored";

export interface Point {
  readonly event: string;
  /** The how manieth of its kind. */
  readonly count: number;
  readonly stage: Stage;
  readonly phase: "deal" | "destroy";
}

export interface Crash extends Point {
  readonly victim: string;
}

/** What was seen on the bus. */
export interface Sight {
  readonly event: string;
  readonly stage: Stage;
  readonly key: string;
}

/** All points of an n-party key, those of each event together. */
export function allPoints(parties: number, threshold: number): Point[] {
  const kinds: [event: string, times: number, phase: Point["phase"], stages: Stage[]][] = [
    ["proposed", 1, "deal", ["stored", "sent"]],
    ["ready", parties, "deal", ["stored", "sent"]],
    // The server does not repeat these.
    ["sealed share", parties, "deal", ["sent"]],
    ["accepted", parties, "deal", ["stored", "sent"]],
    ["test request", 1, "deal", ["stored", "sent"]],
    ["test share", threshold, "deal", ["sent"]],
    ["activated", 1, "deal", ["stored", "sent"]],
    ["destroyed", 1, "destroy", ["stored", "sent"]],
    ["erased", parties, "destroy", ["stored", "sent"]],
  ];
  return kinds.flatMap(([event, times, phase, stages]) =>
    stages.flatMap((stage) =>
      Array.from({ length: times }, (_, i) => ({ event, count: i + 1, stage, phase })),
    ),
  );
}

/** Undefined for what is no step of a key's life. */
export function sightOf(subject: string, payload: Uint8Array): Sight | undefined {
  const [, , ...rest] = subject.split(".");
  const stage = rest[0] === "stored" ? "stored" : "sent";
  const [kind, ...names] = stage === "stored" ? rest.slice(1) : rest;
  if (kind === "deal") return { event: "sealed share", stage, key: names[1] ?? "" };
  if (kind !== "key" && kind !== "req" && kind !== "share") return undefined;
  const body = JSON.parse(Buffer.from(payload).toString("utf8")) as Record<string, string>;
  const key = body["key"] ?? "";
  if (kind === "key") return { event: body["type"] ?? "", stage, key };
  if (kind === "share") return { event: "test share", stage, key };
  return body["kind"] === "test" ? { event: "test request", stage, key } : undefined;
}

/** A few that show every victim, and every second event: another choice for each seed. */
export function someCrashes(all: readonly Crash[], chance: Chance): Crash[] {
  const events = [...new Set(all.map(({ event }) => event))];
  const victims = [...new Set(all.map(({ victim }) => victim))];
  const first = chance.below(victims.length);
  const shown = chance.shuffled(events).slice(0, Math.max(victims.length, events.length / 2));
  return shown.map((event, i) => {
    const victim = victims[(first + i) % victims.length];
    return chance.pick(all.filter((one) => one.event === event && one.victim === victim));
  });
}
