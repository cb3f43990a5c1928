/** @module `thsm pin`: the PIN of this host's client. Needs its files, and no connection. */
import type { Command } from "commander";
import { IdentityLock, readClientConfig } from "../client/index.js";
import { configFile, print, readNewPin, readSecretText, type GlobalOptions } from "./context.js";

interface ChangeFlags {
  readonly pinSource?: string;
  readonly newPinSource?: string;
}

interface UnlockFlags {
  readonly recoverySource?: string;
  readonly newPinSource?: string;
}

const newPinMissing = "a new PIN is needed: --new-pin-source, or run this on a terminal";

export function addPinCommands(program: Command): void {
  const pin = program
    .command("pin")
    .description("the PIN that the client's identity key is encrypted under");
  const options = (): GlobalOptions => program.opts<GlobalOptions>();
  const open = async (): Promise<IdentityLock> =>
    await IdentityLock.of(await readClientConfig(configFile(options())));

  pin
    .command("change")
    .description("replace the PIN; who is logged in stays so, resume tickets end")
    .option("--pin-source <file>", "file with the PIN (default: ask)")
    .option("--new-pin-source <file>", "file with the new PIN (default: ask)")
    .addHelpText(
      "after",
      `
The key stays the same, and so does the recovery code. Sources are files of mode 0600.

  thsm pin change
  thsm pin change --pin-source /etc/knot/thsm.pin --new-pin-source /etc/knot/thsm.pin.new`,
    )
    .action(async ({ pinSource, newPinSource }: ChangeFlags) => {
      const lock = await open();
      const old = await readSecretText(
        pinSource,
        "PIN",
        "the PIN is needed: --pin-source, or run this on a terminal",
      );
      const ticket = await lock.changePin(old, await readNewPin(newPinSource, newPinMissing));
      ticket.fill(0);
      print(options(), { changed: true }, "the PIN is changed; write it where pin-source points");
    });

  pin
    .command("unlock")
    .description("forget wrong PINs; with the recovery code, set a new PIN")
    .option("--recovery-source <file>", "file with the recovery code: set a new PIN")
    .option("--new-pin-source <file>", "file with the new PIN (default: ask)")
    .addHelpText(
      "after",
      `
Wrong PINs are counted beside the identity, so whoever may write there may unlock. The recovery code was
shown when the identity was made, and works any number of times.

  thsm pin unlock                                  somebody else has guessed; the PIN is known
  thsm pin unlock --recovery-source code.txt       the PIN is forgotten`,
    )
    .action(async ({ recoverySource, newPinSource }: UnlockFlags) => {
      const lock = await open();
      if (recoverySource === undefined) {
        await lock.forgiveWrongPins();
      } else {
        const code = await readSecretText(recoverySource, "recovery code", "");
        const ticket = await lock.resetPin(code, await readNewPin(newPinSource, newPinMissing));
        ticket.fill(0);
      }
      const done = recoverySource === undefined ? "unlocked" : "unlocked under the new PIN";
      print(options(), await lock.pinState(), done);
    });

  pin
    .command("status")
    .description("how many wrong PINs there were, and how many may follow")
    .addHelpText("after", "\n  thsm pin status --json")
    .action(async () => {
      const state = await (await open()).pinState();
      const text = state.left === 0 ? "locked: thsm pin unlock" : `${state.left} more may be`;
      print(options(), state, `${state.wrong} wrong PINs since the last right one; ${text}`);
    });
}
