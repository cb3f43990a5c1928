/**
 * @module The streams as declared: subjects, limits, what may never happen to them. Written to
 * nats-server 2.9's features, which is what Debian 12 ships.
 */
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  RetentionPolicy,
  StorageType,
  type ConsumerConfig,
  type StreamConfig,
} from "@nats-io/jetstream";
import {
  allAudit,
  allDeals,
  allKeys,
  allRequests,
  allShares,
  dealsTo,
  storedSubject,
  streamNames,
  type StreamName,
} from "./subjects.js";

const mebibyte = 1 << 20;
const secondsInNanos = 1_000_000_000;

/** Limits in bytes: what a stream may grow to before publishing fails. */
export interface StreamLimits {
  readonly requests: number;
  readonly shares: number;
  readonly audit: number;
  readonly keys: number;
  readonly deals: number;
}

/** For a development cluster; their sum stays below what its server reserves. */
export const developmentLimits: StreamLimits = {
  requests: 256 * mebibyte,
  shares: 1024 * mebibyte,
  audit: 256 * mebibyte,
  keys: 64 * mebibyte,
  deals: 8 * mebibyte,
};

/** Every stream keeps what it has: when it is full, publishing fails and says so. */
export function streamSettings(limits: StreamLimits, replicas: number): Partial<StreamConfig>[] {
  const durable: Partial<StreamConfig> = {
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    num_replicas: replicas,
    duplicate_window: 120 * secondsInNanos,
    deny_delete: true,
    deny_purge: true,
    allow_direct: true,
  };
  return [
    {
      ...durable,
      ...repeated(allRequests),
      name: streamNames.requests,
      max_bytes: limits.requests,
      max_msg_size: 64 * 1024,
      // Write-once: a request id is used for one request, for ever.
      max_msgs_per_subject: 1,
      discard_new_per_subject: true,
    },
    // Not write-once: by a forged reply subject a bad node could occupy another's subject.
    {
      ...durable,
      name: streamNames.shares,
      subjects: [allShares],
      max_bytes: limits.shares,
      max_msg_size: 512 * 1024,
    },
    {
      ...durable,
      ...repeated(allAudit),
      name: streamNames.audit,
      max_bytes: limits.audit,
      max_msg_size: 128 * 1024,
    },
    {
      ...durable,
      ...repeated(allKeys),
      name: streamNames.keys,
      max_bytes: limits.keys,
      max_msg_size: 64 * 1024,
    },
    {
      name: streamNames.deals,
      subjects: [allDeals],
      storage: StorageType.File,
      retention: RetentionPolicy.Workqueue,
      discard: DiscardPolicy.New,
      num_replicas: replicas,
      duplicate_window: 120 * secondsInNanos,
      // What the queue does not deliver, its node looks up.
      allow_direct: true,
      // A dealing is over long before. A server that loses power can forget to remove what was acknowledged.
      max_age: 120 * secondsInNanos,
      max_bytes: limits.deals,
      max_msg_size: 96 * 1024,
    },
  ];
}

function repeated(filter: string): Partial<StreamConfig> {
  return { subjects: [filter], republish: { src: filter, dest: storedSubject(filter) } };
}

/** Name of a node's durable consumers. */
export function nodeConsumer(node: string): string {
  return `node-${node}`;
}

/** The consumers of one node, by stream. */
export function nodeConsumers(node: string): [StreamName, Partial<ConsumerConfig>][] {
  const common: Partial<ConsumerConfig> = {
    durable_name: nodeConsumer(node),
    ack_policy: AckPolicy.Explicit,
    ack_wait: 5 * secondsInNanos,
    max_ack_pending: 1024,
  };
  return [
    // From the first one on, also for a node that joins later: its checkpoints are over all of them.
    [
      streamNames.requests,
      { ...common, filter_subject: allRequests, deliver_policy: DeliverPolicy.All },
    ],
    [
      streamNames.deals,
      { ...common, filter_subject: dealsTo(node), deliver_policy: DeliverPolicy.All },
    ],
  ];
}
