/**
 * @module Programs that know nothing of us, on a machine that the Debian packages were installed on,
 * against one cluster of five nodes. Everything they do is what docs/guides tells to do.
 */
import { expect } from "chai";
import { userInfo } from "node:os";
import { cpSync, readFileSync, writeFileSync, appendFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { findProgram } from "../../../src/cli/programs.js";
import { run, succeed } from "../../support/run.js";
import { TestCluster } from "../cluster.js";
import { until } from "../until.js";
import { Guide, type Running } from "./guide.js";
import { Machine } from "./machine.js";
import { CompatibilityTable } from "./table.js";

const buildDeb = fileURLToPath(new URL("../../../../packaging/build-deb", import.meta.url));

describe("programs of Debian", function () {
  // With SLOW=1 a key of 4096 bits is made: minutes, on a busy machine many.
  this.timeout(process.env["SLOW"] === "1" ? 1_800_000 : 300_000);
  const table = new CompatibilityTable();
  let cluster: TestCluster;
  let machine: Machine;

  before(async () => {
    cluster = await TestCluster.start();
    // What ods-hsmspeed and ods-hsmutil sign with.
    appendFileSync(`${cluster.dir}/client/pkcs11d.toml`, "\nallowSha1 = true\n");
    await cluster.processes.stop("pkcs11d");
    await cluster.up();
    const env = { ...cluster.env };
    for (const name of Object.keys(env)) if (name.startsWith("THSM_P")) delete env[name];
    delete env["THSM_CONFIG"];
    machine = await Machine.start(cluster.path("m"), env, (child) => cluster.adopt(child));
  });
  after(() => cluster.close());

  /** Another guide on the same machine. */
  const guide = (name: string, changes: Record<string, string> = {}): Guide =>
    new Guide(name, cluster, machine, changes);

  /** What a program says of its version, without its name. */
  const version =
    (pattern: RegExp, program: string, ...parameters: string[]) =>
    async (): Promise<string> => {
      const { text } = await run(findProgram(program) ?? program, parameters);
      return pattern.exec(text)?.[1] ?? "";
    };
  /** For programs that do not tell. */
  const packaged = (name: string) => async (): Promise<string> =>
    (await run("dpkg-query", ["-W", "-f=${Version}", name])).text;

  describe("The packages", () => {
    it("are built, and install without enabling anything", async () => {
      const { stdout } = await succeed(buildDeb, [cluster.path("deb")]);
      const files = stdout.toString("utf8").trim().split("\n");
      expect(files).to.have.length(2);
      await machine.succeed("dpkg", ["--install", ...files]);
      cpSync(`${cluster.dir}/client`, cluster.path("m", "etc", "thsm"), { recursive: true });
      const conf = readFileSync(`${cluster.dir}/pkcs11.conf`, "utf8");
      writeFileSync(cluster.path("m", "etc", "thsm", "pkcs11.conf"), conf);
      const { text } = await machine.succeed("thsm-pkcs11d", ["--check"]);
      expect(text).not.to.contain("BAD");
      await machine.succeed("thsm-node", ["--help"]);
      expect((await machine.succeed("id", ["thsm"])).text).to.contain("(thsm)");
      const enabled = await machine.run("find", ["/etc/systemd", "-name", "thsm*"]);
      expect(enabled.text).to.equal("");
    });
  });

  describe("Tools", () => {
    const opensc = packaged("opensc");
    const gnutls = version(/p11tool ([\d.]+)/, "p11tool", "--version");

    // First, for it tries every key that there is.
    table.row("pkcs11-tool", opensc, "--test", async () => {
      expect(await guide("tools").follow("The test of pkcs11-tool")).to.contain("No errors");
    });
    table.row("p11tool, pkcs11-tool", opensc, "list tokens, mechanisms and objects", async () => {
      const text = await guide("tools").follow("Look at the token");
      expect(text).to.contain("Label: dns").and.to.contain("SHA256-RSA-PKCS");
    });
    table.row("pkcs11-tool", opensc, "--keypairgen --sign --verify --delete-object", async () => {
      const text = await guide("tools").follow("Make a key and sign");
      expect(text).to.contain("Signature is valid").and.to.contain("Verified OK");
    });
    table.row(
      "pkcs11-tool",
      opensc,
      "--write-object cert, --read-object, --delete-object",
      async () => {
        await guide("tools").follow("A certificate");
      },
    );
    table.row("pkcs11-tool", opensc, "--decrypt, OAEP and PKCS #1 v1.5", async () => {
      await guide("tools").follow("Decrypt");
    });
    table.row("p11tool", gnutls, "--generate-privkey --test-sign --delete", async () => {
      const text = await guide("tools").follow("Make a key with p11tool");
      expect(text).to.contain("Verifying against public key in the token... ok");
    });
  });

  describe("TLS", () => {
    const openssl = version(/OpenSSL ([\w.]+)/, "openssl", "version");
    const gnutls = version(/gnutls-serv ([\d.]+)/, "gnutls-serv", "--version");
    const nginx = version(/nginx\/([\d.]+)/, "nginx", "-v");
    let changes: Record<string, string>;
    const follow = (title: string): Promise<string> => guide("openssl", changes).follow(title);

    before(async () => {
      const [one, two, three] = [await freePort(), await freePort(), await freePort()];
      changes = { "8443": String(one), "9443": String(two), "7443": String(three) };
      await follow("Make a key");
      await follow("Tell OpenSSL about the engine");
    });

    table.row(
      "OpenSSL with its engine",
      openssl,
      "dgst -sign and -verify, PKCS #1 v1.5 and PSS",
      async () => {
        expect(await follow("Sign a file and verify")).to.contain("Verified OK");
      },
    );
    table.row("OpenSSL with its engine", openssl, "req -x509", async () => {
      expect(await follow("A self-signed certificate")).to.contain("www.pem: OK");
    });
    table.row("OpenSSL with its engine", openssl, "req -new", async () => {
      expect(await follow("A certificate request")).to.contain("verify OK");
    });
    table.row("OpenSSL with its engine", openssl, "s_server, TLS 1.2 and 1.3", async () => {
      await serve("A TLS server", "Connect to it", /ACCEPT/, /Verification: OK/);
    });
    table.row("GnuTLS", gnutls, "gnutls-serv", async () => {
      const end = "Connect to that one";
      await serve("A TLS server with GnuTLS", end, /IPv4 .*done/, /Handshake was completed/);
    });
    table.row("nginx with OpenSSL's engine", nginx, "HTTPS", async () => {
      await serve("nginx", "Ask nginx", undefined, /signed by three of five/);
    });

    async function serve(
      title: string,
      client: string,
      ready?: RegExp,
      ok?: RegExp,
    ): Promise<void> {
      const server = await guide("openssl", changes).start(title);
      try {
        if (ready !== undefined) await until(title, () => ready.test(server.said));
        let said = "";
        await until(`${client}: ${said} ${server.said}`, async () => {
          const { code, text } = await guide("openssl", changes).attempt(client);
          said = text;
          return code === 0 && (ok?.test(text) ?? true);
        });
      } finally {
        await server.stop();
      }
    }
  });

  describe("SSH", () => {
    const ssh = version(/OpenSSH_(\w[\w.]+)/, "ssh", "-V");
    let port: number;

    before(async () => {
      port = await freePort();
    });

    table.row("OpenSSH", ssh, "ssh-keygen -D", async () => {
      await guide("ssh").follow("Make a key and show it to the server");
      expect(readFileSync(guide("ssh").path("authorized_keys"), "utf8")).to.match(
        /^ssh-rsa .* ssh$/m,
      );
    });
    table.row("OpenSSH", ssh, "ssh login", async () => {
      const keys = guide("ssh");
      await succeed("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", keys.path("host")]);
      const config = `Port ${port}
ListenAddress 127.0.0.1
HostKey ${keys.path("host")}
PidFile none
AuthorizedKeysFile ${keys.path("authorized_keys")}
AllowUsers ${userInfo().username}
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
`;
      writeFileSync(keys.path("sshd_config"), config);
      await machine.succeed("mkdir", ["-p", "/run/sshd"]);
      const sshd = findProgram("sshd") ?? "sshd";
      const child = machine.start(sshd, ["-D", "-e", "-f", keys.path("sshd_config")]);
      cluster.adopt(child);
      let said = "";
      child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
      await until("sshd listens", () => said.includes("Server listening"));
      const text = await guide("ssh", { "2222": String(port) }).follow("Log in");
      expect(text).to.contain("logged in");
      expect(said).to.contain("Accepted publickey");
      child.kill();
    });
  });

  describe("BIND", () => {
    const bind = version(/keyfromlabel ([\d.]+)/, "dnssec-keyfromlabel", "-V");

    table.row("BIND", bind, "dnssec-keyfromlabel -E pkcs11", async () => {
      const { code, text } = await guide("bind").attempt("What Debian 12 says");
      expect(code).not.to.equal(0);
      expect(text).to.contain("fatal: failed to get key example.com/RSASHA256: no engine");
      return 'cannot: "no engine"';
    });
  });

  // bin/setup installs no JDK.
  if (findProgram("java") !== undefined) {
    describe("Java", () => {
      const java = version(/version "([\w.]+)"/, "java", "-version");

      table.row("Java SunPKCS11", java, "make a key, sign, verify", async () => {
        const text = await guide("java").follow("Make a key, sign and verify");
        expect(text).to.contain("SHA256withRSA true").and.to.contain("SHA512withRSA true");
      });
      table.row("Java SunPKCS11", java, "key store with a certificate", async () => {
        const text = await guide("java").follow("A key that Java's key store shows");
        expect(text).to.contain("java, PrivateKeyEntry");
      });
    });
  }

  describe("Knot DNS", () => {
    const knot = version(/version ([\d.]+)/, "knotd", "--version");
    const fast = { "size: 2048": "size: 1024", " 1h": " 1s" };
    let server: Running;
    let first: string[];

    before(async () => {
      const others = await activeKeys();
      await machine.succeed("mkdir", ["-p", "/run/knot"]);
      const soon = { ": 365d": ": 15s", ": 30d": ": 10s", ": 2d": ": 1s" };
      const rolling = guide("knot", { ...fast, ...soon });
      await rolling.follow("Configure");
      await rolling.follow("A zone");
      server = await rolling.start("Start");
      await until("Knot has signed", () => server.said.includes("successfully signed"), 120_000);
      first = (await activeKeys()).filter((key) => !others.includes(key));
    });
    after(() => server?.stop());

    table.row("Knot DNS", knot, "ZSK and KSK rolled by themselves", async () => {
      // On a busy machine the next one is on its way already.
      expect(first.length).to.be.at.least(2);
      await gone(first);
      await checkZone();
    });
    table.row("Knot DNS", knot, "zone-key-rollover, zone-ksk-submitted", async () => {
      const told = guide("knot", { ...fast, ": 1h": ": 1s" });
      await told.follow("Configure");
      await machine.succeed("knotc", ["-b", "reload"]);
      await quiet();
      for (const title of ["Roll the ZSK", "Roll the KSK"]) {
        const [said, others] = [server.said.length, await activeKeys()];
        await told.follow(title);
        if (title === "Roll the KSK") {
          await until("Knot waits for the parent", () =>
            /waiting for conf/.test(server.said.slice(said)),
          );
          await told.follow("The parent has the new DS");
        }
        await until(`${title} has ended`, async () => {
          const now = await activeKeys();
          return others.some((key) => !now.includes(key)) && now.length === others.length;
        });
      }
      await checkZone();
    });

    /** Until no rollover that began under the old configuration is under way. */
    async function quiet(): Promise<void> {
      const keys = async (): Promise<string> =>
        (await machine.succeed("keymgr", ["-c", "/etc/knot/knot.conf", "example.com", "list"]))
          .text;
      await until("two keys are left", async () => {
        if (/waiting for confirmation(?!.*confirmed)/s.test(server.said)) {
          await guide("knot").attempt("The parent has the new DS");
        }
        return (await keys()).trim().split("\n").length === 2;
      });
    }

    async function gone(keys: readonly string[]): Promise<void> {
      await until(
        "the first keys are destroyed",
        async () => !(await activeKeys()).some((key) => keys.includes(key)),
        120_000,
      );
      expect(server.said).to.not.match(/ (error|warning): \[/);
    }

    async function checkZone(): Promise<void> {
      const text = await guide("knot").follow("Look at the signed zone");
      expect(text).to.contain("Zone fully signed");
    }

    async function activeKeys(): Promise<string[]> {
      const keys = await cluster.thsmJson<{ keyId: string; state: string }[]>("key", "list");
      return keys.filter(({ state }) => state === "active").map(({ keyId }) => keyId);
    }
  });

  // After all others: in the end it empties the token.
  describe("OpenDNSSEC", () => {
    const opendnssec = packaged("libhsm-bin");
    const follow = (title: string): Promise<string> => guide("opendnssec").follow(title);

    before(async () => {
      await machine.succeed("mkdir", ["-p", "/run/opendnssec"]);
      await follow("Tell OpenDNSSEC about the token");
    });

    table.row("OpenDNSSEC", opendnssec, "ods-hsmutil info, list", async () => {
      expect(await follow("Look at the token")).to.match(/Token Label: +dns/);
    });
    table.row("OpenDNSSEC", opendnssec, "ods-hsmutil generate, dnskey, remove", async () => {
      const text = await follow("Make a key and remove it");
      expect(text)
        .to.match(/IN\s+DNSKEY\s+256 3 8/)
        .and.to.contain("Key remove successful");
    });
    table.row("OpenDNSSEC", opendnssec, "ods-hsmspeed, 8 threads", async () => {
      expect(await follow("How fast it is")).to.match(/[1-9][\d.]* sig\/s/);
    });
    table.row("OpenDNSSEC", opendnssec, "a zone signed by enforcer and signer", async () => {
      try {
        await follow("Sign a zone");
        const signed = "/var/lib/opendnssec/signed/example.com";
        await until(
          "the zone is signed",
          async () => (await machine.run("test", ["-s", signed])).code === 0,
          120_000,
        );
        expect(await follow("Look at the signed zone")).to.contain("Zone fully signed");
        await follow("Stop");
      } finally {
        // Daemons that have detached themselves.
        await machine.run("sh", ["-c", "kill -9 $(cat /run/opendnssec/*.pid)"]);
      }
    });
    // A signature that waits in vain takes its half minute, a key of 4096 bits minutes.
    if (process.env["SLOW"] === "1") {
      it("gives a zone up soon while the cluster is gone, and ends its signer on a SIGTERM", async () => {
        const pidFile = "/run/opendnssec/signerd.pid";
        const lives = async (): Promise<boolean> =>
          (await machine.run("sh", ["-c", `kill -0 $(cat ${pidFile})`])).code === 0;
        const isIdle = async (): Promise<boolean> =>
          (await machine.run("ods-signer", ["queue"])).text.includes("will [sign] zone");
        // It keeps standard error for as long as it runs.
        await machine.succeed("sh", ["-c", "ods-signerd >/dev/null 2>&1"]);
        await until("the signer knows its zone", isIdle, 120_000);
        // Three hundred names, each with records of its own: they cannot wait one after the other.
        const names = 'for i in $(seq 300); do echo "h$i A 192.0.2.3"; done';
        const zone = "/var/lib/opendnssec/unsigned/example.com";
        await machine.succeed("sh", [
          "-c",
          `sed -i 's/ 1 3600/ 2 3600/' ${zone}; (${names}) >>${zone}`,
        ]);
        const nats = (await cluster.processes.find("nats")) ?? expect.fail("no nats-server");
        process.kill(nats, "SIGSTOP");
        try {
          // Not only what it has no signatures of. Neither answers while the signer waits.
          await machine.run("timeout", ["10", "ods-signer", "clear", "example.com"]);
          await machine.run("timeout", ["10", "ods-signer", "sign", "example.com"]);
          await until("the zone is given up", isIdle, 120_000);
          await machine.succeed("sh", ["-c", `kill -TERM $(cat ${pidFile})`]);
          await until("the signer has ended", async () => !(await lives()), 30_000);
        } finally {
          process.kill(nats, "SIGCONT");
          await machine.run("sh", ["-c", "kill -9 $(cat /run/opendnssec/*.pid)"]);
        }
      });
      table.row("OpenDNSSEC", opendnssec, "ods-hsmutil test", async () => {
        const { text } = await guide("opendnssec").attempt("The test of ods-hsmutil");
        for (const bits of [1024, 2048, 4096]) {
          expect(text).to.match(
            new RegExp(`${bits}-bit RSA key... OK\nExtr.*OK.*\n(Sign.*OK\n){3}Deleting key... OK`),
          );
        }
        return "works with RSA keys of 1024, 2048 and 4096 bits; the token has no others";
      });
    }
    table.row("OpenDNSSEC", opendnssec, "ods-hsmutil purge", async () => {
      expect(await follow("Empty the token")).to.contain("Purge done");
      expect(await cluster.thsmJson("key", "list")).to.deep.equal([]);
    });
  });

  // Last: mocha runs the tests of a suite before the suites in it.
  describe("In the end", () => {
    it("all are in docs/compatibility.md", () => table.check());

    it("the history is clean", async () => {
      const { code, text } = await cluster.thsm("audit", "verify");
      expect(code, text).to.equal(0);
    });

    it("the packages go again, and take nothing of the administrator's along", async () => {
      const names = ["threshold-hsm", "threshold-hsm-module"];
      const { text } = await machine.succeed("dpkg", ["--listfiles", ...names]);
      await machine.succeed("dpkg", ["--purge", ...names]);
      // Folders of others stay; one of them, /lib, is a link.
      const left = 'while read -r path; do [ -d "$path" ] || ls -d "$path" 2>/dev/null || :; done';
      const input = `${text}\n`;
      expect(text).to.contain("/usr/bin/thsm\n").and.to.contain("/etc/apparmor.d/abstractions/");
      expect((await machine.run("sh", ["-c", left], { input })).text).to.equal("");
      expect((await machine.run("test", ["-e", "/usr/lib/threshold-hsm"])).code).to.equal(1);
      await machine.succeed("test", ["-e", "/etc/thsm/pkcs11.conf"]);
    });
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}
