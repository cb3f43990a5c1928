import { createUser } from "@nats-io/nkeys";
import { expect } from "chai";
import { renderNatsConfig, type NatsConfigInput } from "../../src/cli/nats-config.js";
import { HsmError } from "../../src/errors.js";
import { exampleInput, keyPairs } from "./example-cluster.js";

describe("renderNatsConfig", () => {
  const keys = keyPairs();
  const input = exampleInput(keys, "/var/lib/nats");
  const tls = { cert: "/tls/server.crt", key: "/tls/server.key", ca: "/tls/ca.crt" };
  const refuses = (change: Partial<NatsConfigInput>, message: RegExp): void => {
    expect(() => renderNatsConfig({ ...input, ...change }))
      .to.throw(HsmError, message)
      .with.property("code", "ERR_INVALID_CONFIG");
  };
  const nkey = createUser().getPublicKey();

  for (const name of ["", "a b", "n1.>", "*", 'n1"', "n1\n}", "ä", "x".repeat(65)]) {
    it(`refuses the name ${JSON.stringify(name)}`, () => {
      refuses({ nodes: [{ name, nkey }] }, /expected a name/);
      refuses({ serverName: name }, /expected a name/);
    });
  }

  const wrongKeys = {
    "that is empty": "",
    "that is too short": nkey.slice(0, -1),
    "in lower case": nkey.toLowerCase(),
    "of an account": `A${nkey.slice(1)}`,
    "with a quote": `${nkey.slice(0, -1)}"`,
  };
  for (const [kind, wrong] of Object.entries(wrongKeys)) {
    it(`refuses a key ${kind}`, () => {
      refuses({ clients: [{ name: "carol", nkey: wrong }] }, /carol: expected the public NKey/);
    });
  }

  it("refuses a seed without repeating it", () => {
    const seed = new TextDecoder().decode(createUser().getSeed());
    const render = () => renderNatsConfig({ ...input, provisioner: seed });
    expect(render).to.throw(/public NKey/);
    expect(render).not.to.throw(seed);
  });

  it("refuses a name or a key that two members share: a name is an inbox", () => {
    refuses({ clients: [{ name: "n1", nkey }] }, /n1 is used by two members/);
    refuses({ clients: [{ name: "provisioner", nkey }] }, /provisioner is used by two/);
    refuses({ clients: [{ name: "carol", nkey: keys.n1.getPublicKey() }] }, /used by two members/);
  });

  it("refuses to listen beyond loopback without TLS", () => {
    for (const host of ["0.0.0.0", "::", "hsm.example", "128.0.0.1", "127.0.0.1.example"]) {
      refuses({ host }, /needs tls/);
    }
    const place = { name: "thsm", port: 6222, routes: [] };
    refuses({ cluster: { ...place, host: "0.0.0.0" } }, /routes .* need tls/);
    const routes = ["127.0.0.1:6222", "other.example:6222"];
    refuses({ cluster: { ...place, host: "127.0.0.1", routes } }, /routes .* need tls/);
    for (const host of ["127.0.0.1", "localhost", "::1"]) {
      expect(renderNatsConfig({ ...input, host })).not.to.include("verify: true");
    }
    expect(renderNatsConfig({ ...input, host: "0.0.0.0", tls })).to.include("verify: true");
  });

  it("refuses routes that trust the clients' CA", () => {
    const cluster = { name: "thsm", host: "0.0.0.0", port: 6222, routes: [], tls };
    refuses({ host: "0.0.0.0", tls, cluster }, /CA of their own/);
  });

  it("refuses text that would end a string of the configuration", () => {
    refuses({ storeDir: '/x" }' }, /expected a path/);
    refuses({ storeDir: "/x\ny" }, /expected a path/);
    refuses({ host: 'x"' }, /needs tls|expected a host/);
    refuses({ port: 70_000 }, /expected a port/);
    refuses({ port: 0.5 }, /expected a port/);
    refuses({ maxBytes: -1 }, /maxBytes/);
    const routes = ['other:6222"'];
    refuses({ cluster: { name: "c", host: "::1", port: 6222, routes } }, /expected host:port/);
  });

  it("gives nobody of the HSM a wildcard over the JetStream API", () => {
    const config = renderNatsConfig(input);
    const hsm = config.slice(config.indexOf("  THSM {"), config.indexOf("  AUDIT {"));
    expect(hsm).not.to.match(/"(\$JS\.API\.)?[>*]"/);
  });
});
