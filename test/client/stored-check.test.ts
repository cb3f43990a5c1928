import { expect } from "chai";
import type { Charge } from "../../src/client/blame/blame-book.js";
import { StoredCheck } from "../../src/client/blame/stored-check.js";
import type { Answer } from "../../src/client/collector.js";
import { silentLogger } from "../../src/log.js";
import { assembleMessage, type StoredMessage } from "../../src/streams/envelope.js";
import { eventually } from "../support/cluster.js";
import { examples } from "../streams/examples.js";

const secondMs = 1000;
const perSecond = 16;
const signature = `ed25519 ${"ab".repeat(8)} ${"A".repeat(86)}`;

describe("the look for shares that were used", () => {
  let nowMs: number;
  let check: StoredCheck;
  /** Subject → what the stream has there. */
  let stored: Map<string, StoredMessage>;
  let looked: string[];
  let said: string[];
  let count: number;

  beforeEach(() => {
    [nowMs, looked, count, said, stored] = [0, [], 0, [], new Map()];
    const reader = {
      isClosed: false,
      lastEntry: async (_: string, subject: string) => {
        looked.push(subject);
        const message = stored.get(subject);
        return await Promise.resolve(message === undefined ? undefined : { message, seq: 1 });
      },
    };
    const say = ({ node, code }: Charge, verdict: string): void =>
      void said.push(`${node} ${verdict} ${code}`);
    const book = {
      charge: (charge: Charge): void => say(charge, charge.verdict),
      withdraw: (charge: Charge): boolean => {
        say(charge, "withdrawn");
        return true;
      },
    };
    check = new StoredCheck(reader, book, silentLogger, () => nowMs);
  });
  afterEach(() => check.close());

  /** Shares of a node that are used in a second. */
  function use(node: string, many: number): StoredMessage[] {
    const used = Array.from({ length: many }, () => {
      const body = Object.assign({}, examples["shares"]?.body, { node }) as unknown;
      const subject = `thsm.v1.share.${node}.alice.session.${++count}`;
      const message = assembleMessage("THSM_SHARE", subject, Buffer.from(subject), signature);
      check.watch({ body: body as Answer["body"], hash: message.hash, message }, message);
      return { ...message, seq: count, time: "" };
    });
    nowMs += secondMs;
    return used;
  }
  const store = (messages: readonly StoredMessage[]): void => {
    for (const one of messages) stored.set(one.subject, one);
  };
  const areLookedAt = (wanted: readonly StoredMessage[]): boolean =>
    wanted.every(({ subject }) => looked.includes(subject));
  /** Lets time pass until it has come. */
  const later = async (what: string, come: () => boolean): Promise<void> => {
    await eventually(what, () => {
      nowMs += secondMs;
      return come() || undefined;
    });
  };
  const storeAndLook = async (messages: readonly StoredMessage[]): Promise<void> => {
    store(messages);
    await check.settle(secondMs);
  };

  it("is for every one while they are few", async () => {
    for (let second = 0; second < 20; second++) await storeAndLook(use("n1", perSecond));
    expect(looked).to.have.lengthOf(20 * perSecond);
  });

  it("is for some when they are many", async () => {
    await storeAndLook(use("n1", 1000));
    looked.length = 0;
    for (let second = 0; second < 20; second++) await storeAndLook(use("n1", 1000));
    expect(looked.length / 20).to.be.within(0.7 * perSecond, 1.3 * perSecond);
    expect(said).to.deep.equal([]);
    await storeAndLook(use("n1", perSecond));
    looked.length = 0;
    await storeAndLook(use("n1", perSecond));
    expect(looked, "few again").to.have.lengthOf(perSecond);
  });

  it("goes on until all that was used of a suspect is there", async () => {
    await storeAndLook(use("n1", 4 * perSecond));
    const missing = use("n3", 40);
    store(use("n1", perSecond));
    await later("the charge", () => said.length > 0);
    expect(new Set(said)).to.deep.equal(new Set(["n3 suspect not-stored"]));
    await later("those that were spared", () => areLookedAt(missing));
    const [last, ...others] = missing.toReversed();
    if (last === undefined) throw new Error("none");
    store(others);
    looked.length = 0;
    await later("the others", () => areLookedAt(others));
    looked.length = 0;
    await later("the one", () => areLookedAt([last]));
    expect(said).to.not.include("n3 withdrawn not-stored");
    store([last]);
    await later("the end", () => said.includes("n3 withdrawn not-stored"));
  });
});
