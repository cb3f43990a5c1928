/** @module What nobody may do on the bus, in whatever configuration we write or ship. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { renderNatsConfig } from "../../src/cli/nats-config.js";
import { exampleInput, keyPairs } from "./example-cluster.js";

const shipped = fileURLToPath(new URL("../../../nats/", import.meta.url));

describe("the permissions of a NATS configuration", () => {
  const check = (config: string): void => {
    const [, accounts = ""] = config.split(/^ {2}THSM \{$/m);
    const [hsm = "", audit = ""] = accounts.split(/^ {2}AUDIT \{$/m);
    const users = hsm.split(/^ {6}\{ nkey: /m).slice(1);
    expect(users.length).to.be.greaterThan(4);
    const inboxes = new Set<string>();
    for (const user of users) {
      const allowed = [...user.matchAll(/allow: \[([^\]]*)\]/g)].map(([, list = ""]) => list);
      expect(allowed).to.have.length(2);
      const subjects = [...allowed.join().matchAll(/"([^"]+)"/g)].map(([, subject]) => subject);
      for (const wide of [">", "$JS.>", "$JS.API.>", "$JS.API.*.>", "$SYS.>", "_INBOX.>"]) {
        expect(subjects, user.slice(0, 60)).to.not.include(wide);
      }
      const own = subjects.filter((subject) => subject?.startsWith("_INBOX"));
      expect(own).to.have.length(1);
      expect(own[0]).to.match(/^_INBOX_[A-Za-z0-9_-]+\.>$/);
      expect(inboxes).to.not.include(own[0]);
      inboxes.add(own[0] ?? "");
    }
    // The mirrors' account is open inside, and shut towards everything else.
    for (const user of audit.split(/^ {6}\{ nkey: /m).slice(1)) {
      for (const shut of ["$JS.API.ACCOUNT.>", "THSMJS.>", "$JS.API.SERVER.>"]) {
        expect(user.slice(user.indexOf("deny"))).to.include(`"${shut}"`);
      }
    }
  };

  it("gives nobody the JetStream API as a whole, and everybody an inbox of its own", () => {
    check(renderNatsConfig(exampleInput(keyPairs(), "/store")));
  });

  it("does so in the files that are shipped", async () => {
    const files = (await readdir(shipped)).filter((name) => name.endsWith(".conf"));
    expect(files).to.have.length(4);
    for (const file of files) check(await readFile(join(shipped, file), "utf8"));
  });
});
