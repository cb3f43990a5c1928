/** @module Mocha's spec reporter, with the plain closing line that any CI can count. */
import Mocha from "mocha";

class PlainTotals extends Mocha.reporters.Spec {
  override epilogue(): void {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    Mocha.reporters.Base.consoleLog(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
}

export { PlainTotals as default };
