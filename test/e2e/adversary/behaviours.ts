/** @module What one lying node of five does, and what everybody learns of it then. */
import { writeFile } from "node:fs/promises";
import { expect } from "chai";
import type { BlameStatus, ClusterStatus } from "../../../src/client/index.js";
import { toBase64url } from "../../../src/identity/encoding.js";
import type { SigningResult } from "../../../src/streams/audit-events.js";
import type { TestCluster } from "../cluster.js";
import { bodyOf, readHistory } from "../history.js";
import type { Lie } from "../liar.js";
import { until } from "../until.js";

const wrong = toBase64url(Buffer.alloc(128, 5));

/** Longer than any client waits before it asks others. */
const slowMs = 8000;

export interface Behaviour {
  readonly name: string;
  readonly lie: Lie;
  /** What the client calls it; the first that is seen. */
  readonly codes: readonly string[];
  readonly isProven: boolean;
}

export const wrongShares: Behaviour = {
  name: "wrong shares",
  lie: (liar, _, honest) => liar.say({ ...honest, shares: (honest.shares ?? []).map(() => wrong) }),
  codes: ["wrong-share", "wrong-proof"],
  isProven: true,
};
/** For whoever has the time. */
export const others: readonly Behaviour[] = [
  { name: "silence", lie: () => undefined, codes: ["silent"], isProven: false },
  {
    name: "wrong shares that it does not explain",
    lie: (liar, { kind }, honest) => {
      if (kind !== "explain")
        liar.say({ ...honest, shares: (honest.shares ?? []).map(() => wrong) });
    },
    codes: ["wrong-share"],
    isProven: true,
  },
  {
    name: "right shares past the stream, under numbers that it uses again",
    lie: (liar, _, honest) => liar.say(honest, { "Nats-Expected-Last-Sequence": "4000000000" }),
    codes: ["chain-fork", "chain-broken"],
    isProven: true,
  },
  {
    name: "slowness",
    lie: (liar, _, honest) => void setTimeout(() => liar.say(honest), slowMs),
    codes: ["silent"],
    isProven: false,
  },
  {
    name: "a forged chain",
    lie: (liar, _, honest) =>
      liar.put(liar.sign(honest, { ...honest, n: 7_000_000, prev: "0".repeat(64) })),
    codes: ["chain-fork", "chain-broken"],
    isProven: true,
  },
  {
    name: "answers to other people's requests",
    lie: (liar, _, honest) => liar.say({ ...honest, request: "0".repeat(64) }),
    codes: ["wrong-answer"],
    isProven: false,
  },
  {
    name: "replays",
    lie: (liar, _, honest) => {
      if (liar.first !== undefined)
        liar.put({ ...liar.first, subject: liar.sign(honest, honest).subject });
    },
    codes: ["silent"],
    isProven: false,
  },
];
/** Of a key that asks for share proofs always. */
export const withProofs: readonly Behaviour[] = [
  {
    name: "right shares with wrong proofs",
    lie: (liar, _, honest) => liar.say({ ...honest, proofs: honest.shares ?? [] }),
    codes: ["wrong-proof"],
    isProven: true,
  },
  {
    name: "right shares without the proofs that are due",
    lie: (liar, _, { proofs: _none, ...rest }) => liar.say(rest),
    codes: ["wrong-proof"],
    isProven: true,
  },
];

/** What `thsm status` says, and how it ends. */
export async function statusOf(
  cluster: TestCluster,
  ...parameters: string[]
): Promise<{ code: number; status: ClusterStatus }> {
  const { code, stdout, text } = await cluster.thsm("--json", "status", ...parameters);
  if (code === 2) throw new Error(text);
  return { code, status: JSON.parse(stdout.toString("utf8")) as ClusterStatus };
}

/** The results since then that name nodes. */
export async function namingResults(
  cluster: TestCluster,
  sinceMs: number,
): Promise<SigningResult[]> {
  const bodies = (await readHistory(cluster)).map((one) => bodyOf(one) as unknown as SigningResult);
  return bodies.filter(
    ({ type, time, culprits, suspects }) =>
      type === "result" && Date.parse(time) >= sinceMs && (culprits ?? suspects) !== undefined,
  );
}

/** n2, and nobody else, is named by `thsm status`, by an event and by a result, with evidence and time. */
export async function expectNamed(
  cluster: TestCluster,
  { codes, isProven }: Behaviour,
  sinceMs: number,
): Promise<BlameStatus> {
  const { code, status } = await statusOf(cluster);
  expect(code).to.equal(3);
  expect(new Set(status.blames.map(({ node }) => node))).to.deep.equal(new Set(["n2"]));
  const [blame] = status.blames;
  if (blame === undefined) throw new Error("no blame");
  expect(codes).to.include(blame.code);
  expect(blame.verdict).to.equal(isProven ? "culprit" : "suspect");
  expect(Date.parse(blame.time)).to.be.within(sinceMs, Date.now());
  expect(blame.evidence.length).to.be.above(0);

  await until("a result names it", async () =>
    (await namingResults(cluster, sinceMs)).some(({ evidence = [], ...names }) => {
      const { culprits = [], suspects = [] } = names;
      expect(new Set([...culprits, ...suspects])).to.deep.equal(new Set(["n2"]));
      const isFull = blame.evidence.every((hash) => evidence.includes(hash));
      return isFull && (isProven ? culprits : suspects).includes("n2");
    }),
  );

  const history = await readHistory(cluster);
  const event = history.find((one) => one.stream === "THSM_AUDIT" && one.seq === blame.seq);
  if (event === undefined) throw new Error("no event");
  const { node, time, type } = bodyOf(event);
  expect({ node, time, type }).to.deep.equal({
    node: "n2",
    time: blame.time,
    type: "misbehaviour",
  });
  const file = cluster.path("evidence.json");
  await writeFile(file, event.payload);
  const judged = await cluster.thsm("audit", "evidence", file);
  if (isProven) expect(judged.code, judged.text).to.equal(0);
  else expect(judged.code, judged.text).to.be.oneOf([2, 3]);
  return blame;
}
