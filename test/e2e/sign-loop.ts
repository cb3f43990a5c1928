/** @module sign-loop.c: an application that signs through the module and knows of no outage. */
import { spawn, type ChildProcess } from "node:child_process";
import { createPublicKey, publicDecrypt, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { KeyInfo } from "../../src/client/index.js";
import { toBase64url } from "../../src/identity/encoding.js";
import { succeed } from "../support/run.js";
import type { TestCluster } from "./cluster.js";

/** Compiles an application of this directory, `sign-loop` or another, below the cluster's directory. */
export async function buildApplication(cluster: TestCluster, name: string): Promise<string> {
  const source = fileURLToPath(new URL(`../../../test/e2e/${name}.c`, import.meta.url));
  const { stdout } = await succeed("pkg-config", ["--cflags", "p11-kit-1"]);
  const flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"];
  const program = cluster.path(name);
  const include = stdout.toString("utf8").trim().split(/\s+/);
  await succeed("cc", [...flags, ...include, source, "-o", program, "-ldl"]);
  return program;
}

/** One running application. */
export class SignLoop {
  readonly child: ChildProcess;
  readonly #file: string;
  readonly #key: KeyObject;
  readonly #size: number;
  readonly #closed: Promise<[number | null]>;
  #said = "";

  constructor(
    cluster: TestCluster,
    program: string,
    key: KeyInfo,
    signatures: number,
    file: string,
    ...more: string[]
  ) {
    this.#file = cluster.path(file);
    this.#size = key.modulus.length;
    this.#key = publicKeyOf(key);
    const parameters = [cluster.module, cluster.pin, String(signatures), this.#file, ...more];
    this.child = cluster.adopt(spawn(program, parameters, { env: cluster.env, stdio: "pipe" }));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#said += text;
      });
    }
    this.#closed = once(this.child, "close") as Promise<[number | null]>;
  }

  get said(): string {
    return this.#said;
  }

  /** How many signatures it has. */
  get count(): number {
    return Math.floor(this.#bytes.length / this.#size);
  }

  /** Numbers of signatures that are wrong. */
  get wrong(): number[] {
    const bytes = this.#bytes;
    return Array.from({ length: this.count }, (_, index) => index).filter((index) => {
      const signature = bytes.subarray(index * this.#size, (index + 1) * this.#size);
      const info = publicDecrypt(this.#key, signature);
      return info.length !== 51 || info.readUInt16BE(49) !== index % 65_536;
    });
  }

  sayGoOn(): void {
    this.child.stdin?.write("\n");
  }

  /** Exit code, −1 after a signal. */
  async end(): Promise<number> {
    const [code] = await this.#closed;
    return code ?? -1;
  }

  get #bytes(): Buffer {
    try {
      return readFileSync(this.#file);
    } catch {
      return Buffer.alloc(0);
    }
  }
}

export function publicKeyOf({ modulus, publicExponent }: KeyInfo): KeyObject {
  const jwk = { kty: "RSA", n: toBase64url(modulus), e: toBase64url(publicExponent) };
  return createPublicKey({ key: jwk, format: "jwk" });
}
