/**
 * @module The configurations in nats/ are what the renderer makes of placeholder keys: nobody holds
 * their secret halves, so an example put to use by mistake lets nobody in.
 * `THSM_UPDATE_EXAMPLES=1` writes the files anew.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import { renderNatsConfig, type NatsConfigInput } from "../../src/cli/nats-config.js";

const keys = {
  n1: "UAREPLACE2ME2BY2THE2KEY2OF2NODEONEXXXXXXXXXXXXXXXXXXWOPO",
  n2: "UAREPLACE2ME2BY2THE2KEY2OF2NODETWOXXXXXXXXXXXXXXXXXXXGEX",
  n3: "UAREPLACE2ME2BY2THE2KEY2OF2NODETHREEXXXXXXXXXXXXXXXXWJYN",
  n4: "UAREPLACE2ME2BY2THE2KEY2OF2NODEFOURXXXXXXXXXXXXXXXXXXTUG",
  n5: "UAREPLACE2ME2BY2THE2KEY2OF2NODEFIVEXXXXXXXXXXXXXXXXXXMAT",
  knot: "UAREPLACE2ME2BY2THE2KEY2OF2CLIENTKNOTXXXXXXXXXXXXXXXXGBN",
  operator: "UAREPLACE2ME2BY2THE2KEY2OF2OPERATORXXXXXXXXXXXXXXXXXXG5I",
  auditor: "UAREPLACE2ME2BY2THE2KEY2OF2AUDITORXXXXXXXXXXXXXXXXXXXI5C",
  provisioner: "UAREPLACE2ME2BY2THE2KEY2OF2PROVISIONERXXXXXXXXXXXXXXXORZ",
  archiver: "UAREPLACE2ME2BY2THE2KEY2OF2ARCHIVERXXXXXXXXXXXXXXXXXXS53",
  system: "UAREPLACE2ME2BY2THE2KEY2OF2SYSTEMXXXXXXXXXXXXXXXXXXXXB47",
};

const users = (...names: (keyof typeof keys)[]): { name: string; nkey: string }[] =>
  names.map((name) => ({ name, nkey: keys[name] }));

const single: NatsConfigInput = {
  serverName: "nats",
  host: "0.0.0.0",
  port: 4222,
  monitorPort: 8222,
  storeDir: "/var/lib/nats",
  tls: {
    cert: "/etc/nats/tls/server.crt",
    key: "/etc/nats/tls/server.key",
    ca: "/etc/nats/tls/ca.crt",
  },
  nodes: users("n1", "n2", "n3", "n4", "n5"),
  clients: users("knot"),
  operators: users("operator"),
  auditors: users("auditor"),
  provisioner: keys.provisioner,
  archivers: users("archiver"),
  systemUsers: users("system"),
};

const servers = ["nats-1", "nats-2", "nats-3"];

function clusterServer(serverName: string): NatsConfigInput {
  return {
    ...single,
    serverName,
    syncAlways: true,
    cluster: {
      name: "thsm",
      host: "0.0.0.0",
      port: 6222,
      routes: servers.filter((other) => other !== serverName).map((other) => `${other}:6222`),
      tls: {
        cert: "/etc/nats/tls/route.crt",
        key: "/etc/nats/tls/route.key",
        ca: "/etc/nats/tls/route-ca.crt",
      },
    },
  };
}

const examples: Record<string, NatsConfigInput> = {
  "single.conf": single,
  ...Object.fromEntries(
    servers.map((server, index) => [`cluster-${index + 1}.conf`, clusterServer(server)]),
  ),
};

describe("the configurations in nats/", () => {
  for (const [file, input] of Object.entries(examples)) {
    it(`${file} is what the renderer makes of the placeholder keys`, () => {
      const url = new URL(`../../../nats/${file}`, import.meta.url);
      const rendered = renderNatsConfig(input);
      if (process.env["THSM_UPDATE_EXAMPLES"] === "1") writeFileSync(url, rendered);
      expect(readFileSync(url, "utf8")).to.equal(rendered);
    });
  }
});
