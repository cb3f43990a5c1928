/**
 * @module Structured logging: one JSON line an event, to stderr, facts as fields.
 * Nothing secret may be passed in; the redaction below is the second line of defence.
 */
import { pino } from "pino";

/** What the product needs of a logger, so that tests can pass a silent one. */
export interface Logger {
  debug(facts: object, event: string): void;
  info(facts: object, event: string): void;
  warn(facts: object, event: string): void;
  error(facts: object, event: string): void;
  child(facts: object): Logger;
}

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** A logger whose lines carry `process: name`. `THSM_LOG_LEVEL` overrides the level. */
export function createLogger(name: string, level: LogLevel = "info"): Logger {
  const wanted = process.env["THSM_LOG_LEVEL"];
  return pino(
    {
      base: { process: name },
      level: logLevels.find((known) => known === wanted) ?? level,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: ["secret", "share", "pin", "*.secret", "*.share", "*.pin"],
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** A logger that keeps quiet. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
