/**
 * @module Mocha's spec reporter, with the suites that took longest and, last, the plain line that any CI can
 * count.
 */
import Mocha from "mocha";

const shown = 12;
const leastSeconds = 5;

class PlainTotals extends Mocha.reporters.Spec {
  /** Seconds of each outermost suite, with its hooks. */
  readonly #seconds: { readonly title: string; readonly seconds: number }[] = [];

  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const begun = new Map<Mocha.Suite, number>();
    runner.on("suite", (suite) => begun.set(suite, performance.now()));
    runner.on("suite end", (suite) => {
      const seconds = (performance.now() - (begun.get(suite) ?? NaN)) / 1000;
      if (suite.parent?.root === true) this.#seconds.push({ title: suite.title, seconds });
    });
  }

  override epilogue(): void {
    super.epilogue();
    const print = Mocha.reporters.Base.consoleLog;
    const long = this.#seconds
      .filter(({ seconds }) => seconds >= leastSeconds)
      .toSorted((one, other) => other.seconds - one.seconds)
      .slice(0, shown);
    for (const { title, seconds } of long) print(`  ${seconds.toFixed(0).padStart(4)} s  ${title}`);
    const { passes, failures, pending } = this.stats;
    print(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
}

export { PlainTotals as default };
