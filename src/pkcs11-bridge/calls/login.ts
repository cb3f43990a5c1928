/** @module Logging in and out. The application's login is ours to keep, the PIN the client's to check. */
import type { HsmClient } from "../../client/index.js";
import { HsmError } from "../../errors.js";
import type { Application, Applications } from "../application.js";
import { ckr } from "../ckr.js";
import { CkrError } from "../errors-to-ckr.js";
import { Writer } from "../rpc/codec.js";
import { parsers } from "../rpc/ops.js";
import { assertToken, noBody, prepared, utf8, type Calls } from "./call.js";

export function loginCalls(
  applications: Applications,
): Calls<"login" | "resume" | "logout" | "set-pin" | "pin-state" | "check-code" | "reset-pin"> {
  async function logIn<Result>(
    application: Application,
    client: HsmClient,
    token: string,
    unlock: () => Promise<Result>,
  ): Promise<Result> {
    application.pendingLogins++;
    try {
      const result = await unlock();
      // The application may have gone while the key was derived.
      if (application.sockets > 0) application.logins.add(token);
      application.log.info({ token }, "logged in");
      return result;
    } finally {
      application.pendingLogins--;
      applications.lockIfUnused(client);
    }
  }

  return {
    login: prepared(parsers.login, async ({ token, pin }, { application, client }) => {
      assertToken(client, token);
      const ticket = await logIn(application, client, token, () => client.unlock(pinText(pin)));
      return new Writer().bytes(ticket).finish();
    }),

    resume: prepared(parsers.resume, async ({ token, ticket }, { application, client }) => {
      assertToken(client, token);
      await logIn(application, client, token, () => client.unlockWithTicket(ticket));
      return noBody;
    }),

    /** All applications of this client share its PIN; their tickets are stale from now on. */
    "set-pin": prepared(parsers["set-pin"], async ({ token, oldPin, newPin }, context) => {
      const { application, client } = context;
      assertToken(client, token);
      try {
        const changing = client.changePin(pinText(oldPin), newPinText(newPin));
        const ticket = await invalidArgument(ckr.PIN_INVALID, changing);
        application.log.info({ token }, "PIN changed");
        return new Writer().bytes(ticket).finish();
      } finally {
        applications.lockIfUnused(client);
      }
    }),

    "pin-state": prepared(parsers["pin-state"], async ({ token }, { client }) => {
      assertToken(client, token);
      const { wrong, left } = await client.pinState();
      return new Writer().u32(wrong).u32(left).finish();
    }),

    /** The security officer is who has the recovery code. The module keeps it until its C_InitPIN. */
    "check-code": prepared(parsers["check-code"], async ({ token, code }, { client }) => {
      assertToken(client, token);
      const checking = client.checkRecoveryCode(pinText(code));
      // An identity without a code has no such officer.
      await invalidArgument(ckr.USER_TYPE_INVALID, checking);
      return noBody;
    }),

    "reset-pin": prepared(parsers["reset-pin"], async ({ token, code, newPin }, context) => {
      const { application, client } = context;
      assertToken(client, token);
      const resetting = client.resetPin(pinText(code), newPinText(newPin));
      (await invalidArgument(ckr.PIN_INVALID, resetting)).fill(0);
      application.log.info({ token }, "PIN set with the recovery code");
      return noBody;
    }),

    logout: prepared(parsers.logout, async ({ token }, { application, client }) => {
      if (application.logins.delete(token)) application.log.info({ token }, "logged out");
      applications.lockIfUnused(client);
      return noBody;
    }),
  };
}

/** What this call says for ERR_INVALID_ARGUMENT. */
async function invalidArgument<Result>(code: number, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof HsmError) || error.code !== "ERR_INVALID_ARGUMENT") throw error;
    throw new CkrError(code, error.message);
  }
}

function newPinText(pin: Uint8Array): string {
  const text = utf8(pin);
  if (text === undefined) throw new CkrError(ckr.PIN_INVALID, "new PIN is not UTF-8");
  return text;
}

function pinText(pin: Uint8Array): string {
  const text = utf8(pin);
  if (text === undefined) throw new HsmError("ERR_WRONG_PIN", "PIN is not UTF-8");
  return text;
}
