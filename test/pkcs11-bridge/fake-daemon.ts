/**
 * @module The real daemon with the fake client, as a process that tests can kill:
 * `node fake-daemon.js '{"socket": …, "tokens": […], "stateFile": …}'`.
 */
import { createLogger } from "../../src/log.js";
import { runDaemon } from "../../src/pkcs11-bridge/daemon.js";
import { inheritedSocket } from "../../src/pkcs11-bridge/service-manager.js";
import { FakeClient, type FakeOptions } from "./fake-client.js";

export interface FakeDaemonOptions extends FakeOptions {
  readonly socket: string;
  readonly socketMode?: number;
  readonly peers?: readonly string[];
  /** Whether systemd listens. */
  readonly isInherited?: boolean;
  readonly maxConnectionsPerApplication?: number;
}

const options = JSON.parse(process.argv[2] ?? "{}") as FakeDaemonOptions;
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
const inherited = options.isInherited === true ? inheritedSocket() : undefined;
await runDaemon({
  ...(inherited === undefined ? {} : { inherited }),
  socketPath: options.socket,
  peers: options.peers ?? [],
  socketMode: options.socketMode ?? 0o600,
  maxConnections: 512,
  maxConnectionsPerApplication: options.maxConnectionsPerApplication ?? 128,
  maxConnectionsPerUser: 256,
  maxCallsPerApplication: 64,
  maxCallsPerUser: 128,
  log: createLogger("fake-daemon", "silent"),
  signal: stop.signal,
  connect: async () => new FakeClient(options),
});
