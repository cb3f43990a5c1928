/** @module Evidence in a file: a misbehaviour event's payload, or only its `node` and `messages`. */
import { readFile } from "node:fs/promises";
import { describeError, HsmError } from "../../errors.js";
import { IsName } from "../../streams/fields.js";
import { IsCarriedList, unpack, type CarriedMessage } from "../../streams/carried.js";
import type { SignedMessage } from "../../streams/envelope.js";
import { parseJson, validated } from "../../validate.js";

class EvidenceFile {
  @IsName() readonly node!: string;
  @IsCarriedList() readonly messages!: CarriedMessage[];
}

export interface EvidenceInFile {
  readonly node: string;
  readonly messages: readonly SignedMessage[];
}

/** @throws HsmError `ERR_INVALID_ARGUMENT` for a file that cannot be read, or holds no evidence */
export async function readEvidence(path: string): Promise<EvidenceInFile> {
  try {
    const plain = parseJson(await readFile(path));
    const fields = Object.entries(typeof plain === "object" && plain !== null ? plain : {});
    // What the event says besides is its client's opinion.
    const wanted = Object.fromEntries(
      fields.filter(([field]) => field === "node" || field === "messages"),
    );
    const { node, messages } = validated(EvidenceFile, wanted, "ERR_INVALID_ARGUMENT");
    return { node, messages: messages.map(unpack) };
  } catch (cause) {
    const why = describeError(cause);
    throw new HsmError("ERR_INVALID_ARGUMENT", `${path} holds no evidence: ${why}`, { cause });
  }
}
