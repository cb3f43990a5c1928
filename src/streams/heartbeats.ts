/** @module Nodes' heartbeats as they come: never stored, signed like everything else. */
import type { NatsConnection, Subscription } from "nats";
import type { Cluster } from "../identity/cluster.js";
import type { Heartbeat } from "./beats.js";
import { assembleMessage, signatureOf } from "./envelope.js";
import { readHeartbeat, verifySender } from "./open.js";
import { allBeats } from "./subjects.js";

/** Tells of each heartbeat that its node has signed. `heard` must not throw. The caller unsubscribes. */
export function listenForBeats(
  cluster: Cluster,
  connection: NatsConnection,
  heard: (beat: Heartbeat) => void,
): Subscription {
  return connection.subscribe(allBeats, {
    callback: (error, received) => {
      if (error !== null) return;
      try {
        const signature = signatureOf(received.headers);
        const message = assembleMessage("", received.subject, received.data, signature);
        const body = readHeartbeat(message);
        verifySender(cluster, message, body, "node");
        heard(body);
      } catch {
        // A forged or malformed heartbeat is no heartbeat.
      }
    },
  });
}
