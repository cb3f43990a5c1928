/**
 * @module Writes what the containers of `run.sh` mount: a NATS configuration with TLS, and one
 * member's certificate and login key. Usage: deployment.js DIR SERVER-HOST MEMBER…
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { renderNatsConfig } from "../../src/cli/nats-config.js";
import { createTls, type Certificate } from "../../src/cli/tls.js";

const [dir = ".", host = "nats", ...nodes] = process.argv.slice(2);
const names = ["provisioner", "knot", ...nodes];
const tls = createTls({ servers: { [host]: [host] }, members: names });

function write(path: string[], content: string | Uint8Array): void {
  const file = join(dir, ...path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, content, { mode: 0o400 });
}

function writeCertificate(path: string[], name: string, own: Certificate | undefined): void {
  if (own === undefined) throw new TypeError(`no certificate for ${name}`);
  write([...path, `${name}.crt`], own.cert);
  write([...path, `${name}.key`], own.key);
  write([...path, "ca.crt"], tls.ca.cert);
}

const users = names.map((name) => {
  const pair = createUser();
  write([name, "nats.nk"], pair.getSeed());
  writeCertificate([name], "member", tls.members[name]);
  return { name, nkey: pair.getPublicKey() };
});

writeCertificate(["nats", "tls"], "server", tls.servers[host]);
write(
  ["nats", "server.conf"],
  renderNatsConfig({
    serverName: "nats",
    host: "0.0.0.0",
    port: 4222,
    monitorPort: 8222,
    storeDir: "/var/lib/nats",
    maxBytes: 2 ** 28,
    tls: {
      cert: "/etc/nats/tls/server.crt",
      key: "/etc/nats/tls/server.key",
      ca: "/etc/nats/tls/ca.crt",
    },
    provisioner: users[0]?.nkey ?? "",
    clients: users.slice(1, 2),
    nodes: users.slice(2),
    operators: [],
    auditors: [],
    archivers: [],
  }),
);
