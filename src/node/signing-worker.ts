/**
 * @module One signing thread. Keeps a signer for each key it has met lately, because making one costs
 * as much as a signature; the secret comes from memory that it shares with the main thread.
 */
import { HsmError, type HsmErrorCode } from "../errors.js";
import { parseGroupKey, parseKeyShare, ShareSigner } from "../scheme/index.js";
import type { KeyShare, GroupKeyBytes, ProofContext } from "../scheme/index.js";

/** Everything a thread needs to sign with a key. */
export interface KeyMaterial {
  readonly group: GroupKeyBytes;
  /** A serialized key share. Secret; zeros once the key is erased. */
  readonly share: SharedArrayBuffer;
}

export type WorkerTask =
  | {
      readonly type: "sign";
      readonly handle: number;
      /** Left out for a key that the thread knows already. */
      readonly material?: KeyMaterial;
      readonly encodedMessages: readonly Uint8Array[];
      /** Prove each share too. */
      readonly proof?: ProofContext;
    }
  | { readonly type: "forget"; readonly handle: number };

export interface Signed {
  readonly shares: readonly Uint8Array[];
  readonly proofs: readonly Uint8Array[];
}

/** An HsmError on its way between threads, where errors lose their class. */
export interface SigningFault {
  readonly code: HsmErrorCode;
  readonly message: string;
}

/** Signers are small, but not nothing: the least recently used one goes. */
const maxSigners = 256;

interface Known {
  readonly signer: ShareSigner;
  readonly share: KeyShare;
}
const known = new Map<number, Known>();

/** Undefined for a key that this thread does not know (any more): send its material. */
export function runTask(task: WorkerTask): Signed | SigningFault | undefined {
  if (task.type === "forget") {
    forget(task.handle);
    return undefined;
  }
  try {
    const signer = signerFor(task.handle, task.material);
    if (signer === undefined) return undefined;
    const { encodedMessages, proof } = task;
    return {
      shares: encodedMessages.map((message) => signer.sign(message)),
      proofs:
        proof === undefined ? [] : encodedMessages.map((message) => signer.prove(message, proof)),
    };
  } catch (error) {
    if (error instanceof HsmError) return { code: error.code, message: error.message };
    throw error;
  }
}

function signerFor(handle: number, material: KeyMaterial | undefined): ShareSigner | undefined {
  const present = known.get(handle);
  if (present !== undefined) {
    known.delete(handle);
    known.set(handle, present);
    return present.signer;
  }
  if (material === undefined) return undefined;
  const group = parseGroupKey(material.group);
  const share = parseKeyShare(new Uint8Array(material.share), group);
  const signer = new ShareSigner(group, share);
  known.set(handle, { signer, share });
  const [oldest] = known.keys();
  if (known.size > maxSigners && oldest !== undefined) forget(oldest);
  return signer;
}

function forget(handle: number): void {
  const one = known.get(handle);
  one?.signer.erase();
  one?.share.erase();
  known.delete(handle);
}
