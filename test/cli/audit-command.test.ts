/** @module Commands of `thsm audit` themselves, on an export: what they write, print and end with. */
import { readFile } from "node:fs/promises";
import { expect } from "chai";
import { HistoryBuilder, honestHistory } from "../client/audit/history.js";
import { AuditCommand } from "./audit-command.js";
import { busyHistory } from "./report-history.js";

describe("a command of thsm audit", function () {
  this.timeout(120_000);
  let honest: AuditCommand;
  let busy: AuditCommand;

  before(async () => {
    honest = await AuditCommand.over(honestHistory());
    busy = await AuditCommand.over(busyHistory());
  });
  after(async () => {
    await honest.close();
    await busy.close();
  });

  it("report --html writes the page, and ends with what it says", async () => {
    const page = honest.path("report.html");
    const clean = await honest.thsm("report", "--html", page);
    expect(clean.code, clean.text).to.equal(0);
    expect(clean.text).to.match(/wrote .*report\.html: 0 findings, \d+ notes/);
    expect(await readFile(page, "utf8"))
      .to.match(/^<!doctype html>/)
      .and.to.contain("<strong>Nothing is wrong</strong>")
      .and.to.match(/<\/html>\s*$/);

    const found = await busy.thsm("report", "--html", busy.path("report.html"), "--json");
    expect(found.code, found.text).to.equal(3);
    const told = JSON.parse(found.stdout.toString("utf8")) as {
      clean: boolean;
      summary: { findings: number };
      statistics: { requests: number };
    };
    expect(told).to.deep.include({ clean: false });
    expect(told.statistics.requests).to.equal(17);
    const text = await readFile(busy.path("report.html"), "utf8");
    expect(text).to.contain(`<title>${told.summary.findings} finding`);
    expect(text).to.contain("What is wrong");
  });

  it("report tells of what it was asked for only, and says so on the page", async () => {
    const page = busy.path("none.html");
    const none = await busy.thsm("report", "--html", page, "--since", "2027-01-01T00:00:00Z");
    expect(none.text).to.contain("wrote ");
    expect(await readFile(page, "utf8")).to.contain("--since 2027-01-01T00:00:00Z");
  });

  it("report says what is missing, and leaves no half page", async () => {
    const nowhere = await honest.thsm("report");
    expect(nowhere.code).to.equal(2);
    expect(nowhere.text).to.contain("--html report.html");
    const page = honest.path("no/such/folder/report.html");
    const unwritten = await honest.thsm("report", "--html", page);
    expect(unwritten.code).to.equal(2);
    expect(unwritten.text).to.contain(`cannot write ${page}`);
  });

  it("shows names on one line, whatever a client calls itself", async () => {
    const history = new HistoryBuilder();
    const session = history.openSession("knot", "zones", "\u001B]0;owned\u0007\nsigned\u202E");
    history.makeKey(session);
    const { body } = history.signed(session);
    const named = await AuditCommand.over(history);
    try {
      for (const words of [["list"], ["explain", body.rid]]) {
        const { code, text } = await named.thsm(...words);
        expect(code, text).to.equal(0);
        for (const letter of "\u001B\u0007\u202E") expect(text).to.not.contain(letter);
        expect(text).to.contain("\\u{1b}]0;owned\\u{7}\\u{a}signed\\u{202e}");
      }
    } finally {
      await named.close();
    }
  });
});
