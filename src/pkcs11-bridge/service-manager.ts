/** @module The socket that systemd hands to the daemon it starts: sd_listen_fds(3). */
import { HsmError } from "../errors.js";

const firstDescriptor = 3;

/**
 * The descriptor of the listening socket; undefined for a daemon that makes its own. Call it once:
 * processes that this one starts must not take the socket for theirs.
 * @throws HsmError `ERR_INVALID_CONFIG` for more than one socket
 */
export function inheritedSocket(environment: NodeJS.ProcessEnv = process.env): number | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete environment[name];
  if (pid !== String(process.pid) || count === undefined) return undefined;
  if (count !== "1") {
    throw new HsmError(
      "ERR_INVALID_CONFIG",
      `expected one socket of the service manager, got ${count}: the socket unit has one ListenStream=`,
    );
  }
  return firstDescriptor;
}
