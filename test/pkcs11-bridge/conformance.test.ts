/**
 * @module The conformance suite (conformance/*.c): every function against the standard, with the sanitizers and under
 * valgrind. The daemon is real, the HSM behind it a fake.
 */
import { expect } from "chai";
import { setTimeout as delay } from "node:timers/promises";
import { Bench, buildModule, conformancePaths } from "./harness.js";

const isSlow = process.env["SLOW"] === "1";
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(50);
}

const valgrind = [
  "-q",
  "--error-exitcode=99",
  "--leak-check=full",
  "--show-leak-kinds=definite,indirect",
];

describe("the PKCS#11 module's conformance", function () {
  this.timeout(isSlow ? 900_000 : 180_000);
  let bench: Bench;

  before(async () => {
    await buildModule();
    bench = new Bench(60);
    bench.programTimeoutMs = isSlow ? 800_000 : 150_000;
    await bench.startDaemon();
    for (const more of [[], ["--usage-decrypt"]]) {
      const made = await bench.pkcs11Tool("--keypairgen", "--key-type", "rsa:2048", ...more);
      expect(made.code, made.stderr).to.equal(0);
    }
  });
  after(() => bench.close());

  const scenarios = [
    { name: "refuses NULL and handles of nothing", scenario: ["handles"] },
    { name: "keeps operations apart, whatever is called in between", scenario: ["states"] },
    { name: "tells how long a buffer must be, and writes no further", scenario: ["buffers"] },
    { name: "begins anew in a child forked at any state", scenario: ["forks"] },
    {
      name: "serves 64 threads on one pool of sessions",
      scenario: ["threads", isSlow ? "200" : "8"],
    },
  ];

  for (const { name, scenario } of scenarios) {
    it(`${name} (sanitizers)`, async () => {
      const [program, module] = conformancePaths("asan");
      const { code, stderr } = await bench.run(program, [module, ...scenario]);
      expect(code, stderr).to.equal(0);
    });

    it(`${name} (valgrind)`, async () => {
      const [program, module] = conformancePaths("plain");
      const rounds = scenario.length > 1 && !isSlow ? ["2"] : scenario.slice(1);
      const parameters = [...valgrind, program, module, scenario[0] ?? "", ...rounds];
      const { code, stderr } = await bench.run("valgrind", parameters);
      expect(code, stderr).to.equal(0);
    });
  }

  it("leaves nothing behind on either side after many connections", async () => {
    const [program, module] = conformancePaths("plain");
    const rounds = isSlow ? 10_000 : 500;
    // The daemon's heap has grown to what it needs by then.
    expect((await bench.run(program, [module, "reconnects", String(rounds / 5)])).code).to.equal(0);
    const before = bench.daemonUse();
    const { code, stderr } = await bench.run(program, [module, "reconnects", String(rounds)]);
    expect(code, stderr).to.equal(0);
    // Closing the last socket is not ours to see.
    await until(() => bench.daemonUse().descriptors <= before.descriptors);
    expect(bench.daemonUse().kilobytes - before.kilobytes).to.be.below(32 * 1024);
  });

  it("leaves no child without a lock while other threads start and stop it", async () => {
    const [program, module] = conformancePaths("plain");
    const rounds = isSlow ? "5000" : "300";
    const { code, stderr } = await bench.run(program, [module, "forks-under-load", rounds]);
    expect(code, stderr).to.equal(0);
  });
});
