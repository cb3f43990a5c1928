/**
 * @module The containers of compose/, from thsm init to a signed zone. Minutes, root, and a Debian to
 * debootstrap: only with SLOW=1 as root. `npm run test:containers` does the same.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect } from "chai";

const script = fileURLToPath(new URL("../../../test/containers/run.sh", import.meta.url));

if (process.env["SLOW"] === "1" && process.geteuid?.() === 0) {
  describe("the containers of compose/", () => {
    it("sign a zone, lose two nodes, sign it again, and leave a clean history", async function () {
      this.timeout(1_300_000);
      const run = spawn(script, { stdio: ["ignore", "inherit", "inherit"] });
      const [code] = (await once(run, "close")) as [number | null];
      expect(code).to.equal(0);
    });
  });
}
