/**
 * @module How the nodes are doing, as this client sees it: heartbeats, answer times, work under
 * way. Decides whom to ask; never decides what is right.
 */
import type { NatsConnection, Subscription } from "nats";
import type { Cluster } from "../identity/cluster.js";
import type { Heartbeat } from "../streams/beats.js";
import { listenForBeats } from "../streams/heartbeats.js";

/** A node beats every second. Its silence is counted in half seconds that this process was there to listen. */
const listenMs = 500;
const silentAfter = 7;
/** Ten seconds later its absence is no hiccup: nobody waits long for it again. */
const goneAfter = silentAfter + 20;
const samples = 64;
/**
 * After this time half of what an answer time says is forgotten. Who is not asked gives no newer one: without
 * forgetting, a node that was slow once, while it started say, would not be asked again for as long as others are there.
 */
const halfLifeMs = 2000;
/** The weight of an answer time that comes soon after others. */
const newestWeight = 1 / 8;
const firstPatienceMs = 2000;
const leastPatienceMs = 250;
const mostPatienceMs = 5000;
/** An answer is late when it takes so many times the recent 95th percentile. */
const lateFactor = 3;

const missesToTell = 3;
const firstRestMs = 1000;
const mostRestMs = 60_000;

interface NodeState {
  /** Half seconds since its newest beat. */
  silence: number;
  /** What the newest beat said. */
  boot: string;
  beat: number;
  time: string;
  /** Exponentially weighted mean of answer times, and when it was that (of the monotonic clock). */
  meanMs: number;
  learntMs: number;
  /** Inputs asked and not yet answered. */
  outstanding: number;
  /** Times in a row that it was waited for in vain, and until when (of the monotonic clock) it is not asked for that. */
  misses: number;
  restsUntilMs: number;
}

export class NodeHealth {
  readonly #states = new Map<string, NodeState>();
  readonly #recent: number[] = [];
  readonly #avoided = new Set<string>();
  readonly #subscription: Subscription;
  readonly #timer: NodeJS.Timeout;
  #heardAny = false;

  constructor(cluster: Cluster, connection: NatsConnection) {
    for (const { name } of cluster.nodes) {
      this.#states.set(name, {
        silence: silentAfter,
        boot: "",
        beat: -1,
        time: "",
        meanMs: 10,
        learntMs: performance.now(),
        outstanding: 0,
        misses: 0,
        restsUntilMs: 0,
      });
    }
    // After this process was stopped or busy, one tick has passed, whatever the clock says.
    this.#timer = setInterval(() => {
      for (const state of this.#states.values()) state.silence += 1;
    }, listenMs);
    this.#timer.unref();
    this.#subscription = listenForBeats(cluster, connection, (beat) => this.#beat(beat));
  }

  /** Node names, best first: alive, honest so far, quick, and not busy with our own requests. */
  rank(nodes: readonly string[]): string[] {
    const scores = new Map(nodes.map((node) => [node, this.#score(node)]));
    return nodes.toSorted((a, b) => (scores.get(a) ?? 0) - (scores.get(b) ?? 0));
  }

  isAlive(node: string): boolean {
    const { silence = silentAfter } = this.#states.get(node) ?? {};
    // Before the first beat of anybody, silence says nothing.
    return !this.#heardAny || silence < silentAfter;
  }

  /** Nothing was heard of the node for so long that waiting for it is of no use. */
  isGone(node: string): boolean {
    return (this.#states.get(node)?.silence ?? goneAfter) >= goneAfter;
  }

  /** From now on the node is asked last, or like any other again. */
  avoid(node: string, isAvoided: boolean): void {
    if (isAvoided) this.#avoided.add(node);
    else this.#avoided.delete(node);
  }

  asked(node: string, inputs: number): void {
    const state = this.#states.get(node);
    if (state === undefined) return;
    state.outstanding += inputs;
    // One request at a time tries whether it has recovered.
    if (state.misses > 0) state.restsUntilMs = performance.now() + restMs(state.misses);
  }

  answered(node: string, inputs: number, elapsedMs: number): void {
    const state = this.#release(node, inputs);
    if (state === undefined) return;
    learn(state, elapsedMs);
    state.misses = 0;
    state.restsUntilMs = 0;
    this.#recent.push(elapsedMs);
    if (this.#recent.length > samples) this.#recent.shift();
  }

  /**
   * Nobody waits for the node's answer any more. That it took so long already counts. True when the node lives,
   * and was waited for in vain so often in a row that somebody should hear of it.
   */
  gaveUp(node: string, inputs: number, waitedMs: number): boolean {
    const state = this.#release(node, inputs);
    if (state === undefined) return false;
    if (waitedMs > state.meanMs) learn(state, waitedMs);
    if (waitedMs < this.patienceMs) return false;
    state.misses += 1;
    state.restsUntilMs = performance.now() + restMs(state.misses);
    return state.misses === missesToTell && this.isAlive(node);
  }

  /** How long to wait for an answer before others are asked. */
  get patienceMs(): number {
    if (this.#recent.length < 8) return firstPatienceMs;
    const sorted = this.#recent.toSorted((a, b) => a - b);
    const p95 = sorted[Math.floor(sorted.length * 0.95)] ?? firstPatienceMs;
    return Math.min(mostPatienceMs, Math.max(leastPatienceMs, lateFactor * p95));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#subscription.unsubscribe();
  }

  #score(node: string): number {
    const state = this.#states.get(node);
    if (state === undefined) return Number.POSITIVE_INFINITY;
    const isReady = this.isAlive(node) && performance.now() >= state.restsUntilMs;
    const burden = (isReady ? 0 : 1e9) + (this.#avoided.has(node) ? 1e12 : 0);
    // A little chance spreads equal nodes.
    const spread = 1 + Math.random() / 4;
    // Who has rested is tried, however long it was waited for: else nobody would ever learn that it is well again,
    // or that it is not.
    const meanMs = state.misses > 0 && isReady ? 0 : state.meanMs * freshness(state);
    return burden + meanMs * (1 + state.outstanding) * spread;
  }

  #release(node: string, inputs: number): NodeState | undefined {
    const state = this.#states.get(node);
    if (state !== undefined) state.outstanding = Math.max(0, state.outstanding - inputs);
    return state;
  }

  #beat({ node, boot, beat, time }: Heartbeat): void {
    const state = this.#states.get(node);
    if (state === undefined) return;
    // A replayed old beat, of this boot or an earlier one, must not make a dead node look alive.
    if (state.boot === boot ? beat <= state.beat : time <= state.time) return;
    this.#heardAny = true;
    Object.assign(state, { boot, beat, time, silence: 0 });
  }
}

/** One answer time more. It weighs the more, the older the others are. */
function learn(state: NodeState, ms: number): void {
  state.meanMs += (ms - state.meanMs) * (1 - freshness(state) * (1 - newestWeight));
  state.learntMs = performance.now();
}

/** From 1, of an answer just now, down to 0. */
function freshness({ learntMs }: NodeState): number {
  return 2 ** ((learntMs - performance.now()) / halfLifeMs);
}

/** A node that did not answer rests the longer the more often that was so. */
function restMs(misses: number): number {
  return Math.min(mostRestMs, firstRestMs * 2 ** Math.min(misses, 10));
}
