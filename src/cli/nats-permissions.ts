/**
 * @module Who may say and hear what on the bus: one list of subjects per role.
 *
 * Permissions are a first filter, never authentication: the server does not check the reply subject
 * of what it answers, so whoever may ask for a stored message can have it put on any subject. Every
 * message carries its sender's signature for that reason. nats/README.md explains each line.
 */

/** What one user may publish and subscribe to. Whatever is not listed is refused. */
export interface NatsPermissions {
  readonly publish: SubjectList;
  readonly subscribe: SubjectList;
}

export interface SubjectList {
  readonly allow: readonly string[];
  readonly deny?: readonly string[];
}

/** The streams that keep history. `THSM_DEAL` does not: its messages are gone once acknowledged. */
export const keptStreams = ["THSM_REQ", "THSM_SHARE", "THSM_AUDIT", "THSM_KEY"] as const;

const keyDirectory = [
  "thsm.v1.key.*",
  "$JS.API.DIRECT.GET.THSM_KEY",
  "$JS.API.DIRECT.GET.THSM_KEY.thsm.v1.key.>",
];

/** A signer: reads stored requests and what is dealt to it, speaks only for itself. */
export function nodePermissions(name: string): NatsPermissions {
  const own = [`share.${name}.>`, `audit.node.${name}`, `audit.node.${name}.>`];
  return {
    publish: {
      allow: [
        ...own.map((subject) => `thsm.v1.${subject}`),
        `thsm.v1.beat.${name}`,
        `thsm.v1.round.${name}.>`,
        `thsm.v1.prep.${name}.>`,
        ...["THSM_REQ", "THSM_DEAL"].flatMap((stream) => [
          `$JS.API.CONSUMER.INFO.${stream}.node-${name}`,
          `$JS.API.CONSUMER.MSG.NEXT.${stream}.node-${name}`,
          `$JS.ACK.${stream}.node-${name}.>`,
        ]),
        ...keyDirectory,
        ...own.map((subject) => directGet(subject)),
        // A killed server can forget to deliver what its work queue holds.
        directGet(`deal.${name}.>`),
        // Whether the streams it acts on are still those that it knows.
        ...["THSM_REQ", "THSM_KEY"].map((stream) => `$JS.API.STREAM.INFO.${stream}`),
      ],
    },
    subscribe: {
      allow: [
        inbox(name),
        "thsm.v1.stored.req.>",
        "thsm.v1.stored.key.>",
        `thsm.v1.round.*.${name}.>`,
        `thsm.v1.prep.*.${name}.>`,
      ],
    },
  };
}

/** A signing client, which is also the dealer of its keys: reads only the shares meant for it. */
export function clientPermissions(name: string): NatsPermissions {
  return {
    publish: {
      allow: [
        `thsm.v1.req.${name}.>`,
        `thsm.v1.audit.client.${name}.>`,
        `thsm.v1.audit.blame.${name}.*`,
        "thsm.v1.deal.*.*",
        `thsm.v1.key.object.${name}.>`,
        ...keyDirectory,
        directGet(`req.${name}.>`),
        directGet(`share.*.${name}.>`),
        directGet(`audit.client.${name}.>`),
        ...nodeRecord,
      ],
    },
    subscribe: {
      allow: [
        inbox(name),
        `thsm.v1.share.*.${name}.>`,
        "thsm.v1.stored.key.>",
        "thsm.v1.stored.audit.>",
        "thsm.v1.beat.*",
      ],
    },
  };
}

/** Whom clients blame and operators clear: members learn of it when they start. */
const nodeRecord = [directGet("audit.blame.*.*"), directGet("audit.operator.*.*")];

const readState = [
  "$JS.API.INFO",
  "$JS.API.STREAM.NAMES",
  "$JS.API.STREAM.LIST",
  "$JS.API.STREAM.INFO.*",
  "$JS.API.CONSUMER.NAMES.*",
  "$JS.API.CONSUMER.LIST.*",
  "$JS.API.CONSUMER.INFO.*.*",
];

/** Watches, fails over, backs up and destroys keys; cannot alter streams or speak for others. */
export function operatorPermissions(name: string): NatsPermissions {
  return {
    publish: {
      allow: [
        ...readState,
        "$JS.API.STREAM.SNAPSHOT.*",
        "$JS.SNAPSHOT.ACK.>",
        "$JS.API.STREAM.LEADER.STEPDOWN.*",
        "$JS.API.CONSUMER.LEADER.STEPDOWN.*.*",
        `thsm.v1.audit.operator.${name}`,
        `thsm.v1.audit.operator.${name}.*`,
        directGet(`audit.operator.${name}`),
        ...nodeRecord,
        ...keyDirectory,
      ],
      // A backup of sealed dealings would keep what the work queue is there to forget.
      deny: ["$JS.API.STREAM.SNAPSHOT.THSM_DEAL"],
    },
    subscribe: { allow: [inbox(name), "$JS.EVENT.>", "thsm.v1.beat.*", "thsm.v1.stored.>"] },
  };
}

/** Reads everything that is kept, writes nothing. */
export function auditorPermissions(name: string): NatsPermissions {
  return {
    publish: {
      allow: [...readState, "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>"],
      deny: [
        "$JS.API.STREAM.MSG.GET.THSM_DEAL",
        "$JS.API.DIRECT.GET.THSM_DEAL",
        "$JS.API.DIRECT.GET.THSM_DEAL.>",
      ],
    },
    subscribe: {
      allow: [inbox(name), "thsm.v1.>", "$JS.EVENT.ADVISORY.>"],
      deny: ["thsm.v1.deal.>"],
    },
  };
}

/** Used at installation: makes the streams and each node's two consumers, and nothing else. */
export function provisionerPermissions(nodes: readonly string[]): NatsPermissions {
  return {
    publish: {
      allow: [
        "$JS.API.INFO",
        ...[...keptStreams, "THSM_DEAL"].flatMap((stream) => [
          `$JS.API.STREAM.CREATE.${stream}`,
          `$JS.API.STREAM.INFO.${stream}`,
        ]),
        ...nodes.flatMap((node) => [
          `$JS.API.CONSUMER.CREATE.THSM_REQ.node-${node}.thsm.v1.req.>`,
          `$JS.API.CONSUMER.INFO.THSM_REQ.node-${node}`,
          `$JS.API.CONSUMER.CREATE.THSM_DEAL.node-${node}.thsm.v1.deal.${node}.>`,
          `$JS.API.CONSUMER.INFO.THSM_DEAL.node-${node}`,
        ]),
      ],
    },
    subscribe: { allow: [inbox(provisioner)] },
  };
}

/**
 * Full use of the AUDIT account, where the mirrors live, without the calls that reach beyond it:
 * those that nats-server before 2.10.27 lets any account make (CVE-2025-30215), and the imported
 * consumer call, which only the server's own mirroring needs.
 */
export const archiverPermissions: NatsPermissions = {
  publish: {
    allow: [">"],
    deny: [
      "$JS.API.ACCOUNT.>",
      "$JS.API.SERVER.>",
      "$JS.API.META.>",
      "THSMJS.>",
      "$JS.FC.>",
      "thsm-mirror.>",
    ],
  },
  subscribe: { allow: [">"] },
};

/** The provisioner's name on the bus: its inbox is `_INBOX_provisioner.>`. */
export const provisioner = "provisioner";

/** Pass `_INBOX_<name>` as `inboxPrefix` when connecting: nobody may use the default inboxes. */
function inbox(name: string): string {
  return `_INBOX_${name}.>`;
}

/** The newest stored message on a subject, of one's own stream and subjects only. */
function directGet(subject: string): string {
  const stream = `THSM_${subject.slice(0, subject.indexOf(".")).toUpperCase()}`;
  return `$JS.API.DIRECT.GET.${stream}.thsm.v1.${subject}`;
}
