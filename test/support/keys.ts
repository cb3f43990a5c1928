/**
 * @module Fixed keys for tests: safe primes that were generated once with `generateSafePrime`. They are
 * published here, so never deal a key from them outside a test.
 */
import { modInv } from "bigint-mod-arith";
import { createHash, createPrivateKey, type KeyObject } from "node:crypto";
import { type DealtKey, dealKey, type RandomSource } from "../../src/scheme/index.js";

const safePrimes: Readonly<Record<number, readonly [p: string, q: string]>> = {
  1024: [
    "e6ef48b952a8aa4d716cd74de0afc7495ded565d1e53c70f6b465f081f42e1b769dc1375926ecfb3" +
      "998abf8481d0638299f3c8e6f43179cc159abd3eeb1d66fb",
    "cc17297e34902be5de54f3d87a57d868df90adbb3c9f419346f08ed5a0afb1c8bde2981bd2a6e749" +
      "1ce58274ff868eaf5599bddbe21b5cbab059d56355c17f83",
  ],
  2048: [
    "dcd5714661e31b7b65e6434435ea537d7d9fe6e33da7d80fef65731736dd2eba52e28781fb915139" +
      "7bffc8d4bc932d75be913cb91d60f02b232c0aae7fb30ac7bd9e077f5b8a6c4a038716617ec4e21c" +
      "bcc83e7058aa38b38d9cac91ee338b78efb6b8e647e8a24983dcf531f981041a7745a46b11fcb0ae" +
      "32c028574327c81f",
    "f8f067c47d756c8c44719e521737ae5b38fd81403c1cf2646565f8a2e2694b3d51c204735cffb200" +
      "bef0adffa01d07996f1558ecd5bd594bbb81ab48e3c0108a0a1415398ae84834f01236b6a5325a41" +
      "43b130928b82c0cb8f9ddcf8e34550e2f15dfce701bdcb2324aa86ce7993d377e298512a1ff66c63" +
      "4a29fe23d9bb4967",
  ],
  3072: [
    "f1de8e3a656bc8d9fe7c154578776c9bb6ea7a80900298fe0c53ca5182ec4a94d09d8fc74d8e11ab" +
      "32038403ab102b12f881e6039c484168e4a3c2d67c8a23359df878162a700a5434e34bcb11921ba8" +
      "8660bdda3d007d5451a7e571e6650f0172902105f54e6c00d2817a46715042b3f79811b295327c94" +
      "d52f4f42e4113ef8864853af233595bfdf86b24c8059c13ec5012626736f59279767bc05b965333f" +
      "97b4fc3cef3482d3c0b31e4243df2e5cfa38c93c3d1186e89439fa4286dbf04b",
    "c27b7a148a58b7d5a963eb532f165cd86ac8a9d51c26f0301439831f8e95805922e727eadfc05e05" +
      "640761f65855ff2699ff9a1c18dc4bc3aa9b32ef0906645cbdfe6372a1b1a47b2697a9f0e09a2889" +
      "740a9d78fa4db8fa41bb85e824df040e7974941b94b296d08d89464732393b9a37c2b47c4a709aff" +
      "111b109c1139de46f4e21c7ef1038ea33d1bc390207c13ca51a9edebef9739ce711e6db7438e93e6" +
      "3d3b9b572100940f3bc7eff35e5c67a0e9e93701f5e99ed47d46447e7df429bf",
  ],
  4096: [
    "cb71e706c4f1d004e689dbc55945b968e4e10fc847fd02311de96eb2794919ab39ae70c0e3a4e4f1" +
      "d7a9ac3d6bcfd617eb5f6670acf55d94c128c28fdf1a7579af6b70b98cb9472eba41fa65c07492d4" +
      "fcaac2a087316d51d599773bd20682bc449bd1bce9f857acaae84fdefe005c6a0c0e53c373f1a007" +
      "7536bbe57d48d3cd7bcf643e49913de5691ca1a0166a1c64e80fcdbf27183d782acd1fd3510d808c" +
      "5aee6ef9ff22ba20d2a07e7f84d27c0093f6e84e2d44857c8d006b8cf78ae09acd2ead869be7b7a5" +
      "a8760490bd5aeebdda544c0686527a2bb2e069115b3ab3750947e75abd63f20439b1afb69e2a5fd9" +
      "1e7572aaa008a227aea3a9a7855f0f67",
    "fa4b5b47e9b7d58d7950ee076cce0e3522ca4c202c85034d5af96f91e432e35f7d4cb5befbb011c8" +
      "7d8be084cf3f9f2d08492a3a07a56e074d36b3bf5b3056e1e3b3a805b528d0d9f990a08def122841" +
      "46adb841883be8e4db605756691a22356d34234f22166013cea53e35f817fa51f95c1e61d7831444" +
      "16df300ec20f829b2df14aeacfb82f862625c9478c7a6cfc28011c53a9f056df185a712d521bde3e" +
      "df328a7aedc4256c9ee6fed5c33c6720775b47fdc70584fdc0a422f8d9bd0683d7122d220fdacafc" +
      "2013b766827a1f43efcaf681fe3437d9f6ded4c2536a1e3a1a0697c74adcf95f3fae3fac8e13ca9d" +
      "c8ca4e93f15741ac95cace3aa10222d3",
  ],
};

export interface TestKey extends DealtKey {
  readonly p: bigint;
  readonly q: bigint;
}

const dealt = new Map<string, TestKey>();

/**
 * A key of 1024, 2048, 3072 or 4096 bits, dealt once per process and kept. Its `shares` are common
 * to all tests: erase copies only.
 */
export function testKey(modulusBits: number, parties = 3, threshold = 2): TestKey {
  const name = [modulusBits, parties, threshold].join();
  let key = dealt.get(name);
  if (key === undefined) {
    const { p, q } = testPrimes(modulusBits);
    key = { p, q, ...dealKey({ p, q, parties, threshold, random: fixedRandom(name) }) };
    dealt.set(name, key);
  }
  return key;
}

/** The safe primes of `testKey`. */
export function testPrimes(modulusBits: number): { p: bigint; q: bigint } {
  const primes = safePrimes[modulusBits];
  if (primes === undefined) throw new RangeError(`no test primes for ${modulusBits} bits`);
  return { p: BigInt(`0x${primes[0]}`), q: BigInt(`0x${primes[1]}`) };
}

/** A reproducible stream of bytes: SHAKE256 of the seed and a counter. */
export function fixedRandom(seed: string): RandomSource {
  let calls = 0;
  return (length) =>
    createHash("shake256", { outputLength: length }).update(`${seed}/${calls++}`).digest();
}

/** The private exponent of the whole key, which only a test ever puts together. */
export function privateKeyOf({ p, q, group }: TestKey): KeyObject {
  const d = modInv(group.publicExponent, (p - 1n) * (q - 1n));
  const jwk = {
    kty: "RSA",
    n: word(group.modulus),
    e: word(group.publicExponent),
    d: word(d),
    p: word(p),
    q: word(q),
    dp: word(d % (p - 1n)),
    dq: word(d % (q - 1n)),
    qi: word(modInv(q, p)),
  };
  return createPrivateKey({ key: jwk, format: "jwk" });
}

function word(value: bigint): string {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex").toString("base64url");
}
