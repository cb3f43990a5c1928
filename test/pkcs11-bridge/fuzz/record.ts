/**
 * @module Records the seeds of the fuzzers: `node dist/test/pkcs11-bridge/fuzz/record.js`, from the repository's root.
 * The replies are a real daemon's, with a fake HSM behind it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writer } from "../../../src/pkcs11-bridge/rpc/codec.js";
import { Bench, pin } from "../harness.js";
import { RawModule } from "../raw-module.js";

const directory = "test/pkcs11-bridge/fuzz/corpus";
const [answerBody, answerCode, answerBroken, answerSilence] = [1, 4, 5, 6];

/** One reply as in-process.c reads it. */
function answer(how: number, body: Uint8Array): Buffer {
  return new Writer().u8(how).bytes(body).finish();
}

function save(target: "replies" | "calls", name: string, bytes: Uint8Array): void {
  mkdirSync(join(directory, target), { recursive: true });
  writeFileSync(join(directory, target, name), bytes);
}

async function recordReplies(): Promise<void> {
  const bench = new Bench();
  await bench.startDaemon();
  const module = await RawModule.open(bench.socket);
  const keys = async () =>
    await module.call("keys", new Writer().text("dns").fixed(Buffer.alloc(16)).u32(0));
  const login = await module.login("dns", pin);
  const empty = await keys();
  const wish = new Writer().text("dns").fixed(Buffer.alloc(16, 7)).text("a key").text("an id");
  const made = await module.call("generate", wish.u16(1024).u8(0));
  const listed = await keys();
  const handle = made.body.readBigUInt64BE(8);
  const input = new Writer().u32(1).u8(0).u8(0).bytes(Buffer.alloc(20)).finish();
  const signed = await module.call("sign", new Writer().text("dns").u64(handle).fixed(input));
  const inOrder = [login, empty, made].map(({ body }) => answer(answerBody, body));
  save("replies", "no-keys", Buffer.concat(inOrder));
  const withKeys = [login, listed, listed, signed].map(({ body }) => answer(answerBody, body));
  save("replies", "a-key", Buffer.concat(withKeys));
  const head = withKeys.slice(0, 2);
  save("replies", "refused", Buffer.concat([...head, answer(answerCode, Buffer.from([1]))]));
  save("replies", "broken", Buffer.concat([...head, answer(answerBroken, Buffer.alloc(0))]));
  save("replies", "silence", Buffer.concat([...head, answer(answerSilence, Buffer.alloc(0))]));
  module.close();
  await bench.close();
}

/** Steps as calls.c reads them: function, handle, size, choice. Handle 8 is the private key, 16 the public one. */
function recordCalls(): void {
  const login = [3, 0, 4, 0];
  const lives: Record<string, number[][]> = {
    sign: [login, [14, 8, 0, 1], [16, 0, 9, 0], [17, 0, 0, 0], [17, 0, 0, 64], [4, 0, 0, 0]],
    find: [
      [5, 0, 0, 0],
      [6, 0, 0, 8],
      [7, 0, 0, 0],
      [13, 16, 9, 16],
      [12, 8, 0, 0],
    ],
    cipher: [login, [22, 16, 0, 0], [23, 0, 8, 64], [24, 8, 0, 4], [25, 0, 64, 0], [25, 0, 64, 64]],
    objects: [
      [8, 0, 7, 0],
      [9, 16, 1, 64],
      [11, 0, 2, 80],
      [10, 0, 0, 0],
      [10, 8, 0, 0],
    ],
    digest: [
      [26, 0, 0, 5],
      [28, 0, 3, 0],
      [29, 0, 0, 1],
      [29, 0, 0, 64],
      [26, 0, 0, 6],
      [27, 0, 2, 9],
    ],
    "many-sessions": [
      [0, 0, 2, 0],
      [0, 0, 0, 1],
      [1, 1, 0, 0],
      [2, 0, 1, 1],
      [38, 0, 0, 0],
      [0, 0, 2, 0],
    ],
    keys: [login, [30, 0, 8, 7], [31, 0, 4, 4], [32, 8, 0, 0], [18, 16, 0, 3], [19, 0, 8, 64]],
  };
  for (const [name, steps] of Object.entries(lives)) {
    save("calls", name, Buffer.from([0, ...steps.flat()]));
  }
  const broken = answer(answerBroken, Buffer.alloc(0));
  save("calls", "broken", Buffer.from([broken.length, ...broken, ...(lives["sign"] ?? []).flat()]));
}

await recordReplies();
recordCalls();
