/** @module `thsm audit report`: what its page says, what it never does, and how it fares in a browser. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { collectReport, type CollectOptions } from "../../src/cli/report/collect.js";
import { findProgram } from "../../src/cli/programs.js";
import { renderPage } from "../../src/cli/report/page.js";
import { memoryHistory } from "../client/audit/audited.js";
import { HistoryBuilder } from "../client/audit/history.js";
import { run } from "../support/run.js";
import { busyHistory } from "./report-history.js";

async function pageOf(history: HistoryBuilder, options: CollectOptions = {}): Promise<string> {
  const report = await collectReport(memoryHistory(history.streams), history.cluster, options);
  return renderPage(report);
}

/** Every tag closed in its order, as XML parsers want it; void elements and the doctype apart. */
function unclosed(page: string): string[] {
  const open: string[] = [];
  const voids = new Set(["meta", "!doctype"]);
  for (const [, slash, name = "", end] of page.matchAll(/<(\/?)([!\w]+)[^<>]*?(\/?)>/g)) {
    if (voids.has(name) || end === "/") continue;
    if (slash === "") open.push(name);
    else if (open.pop() !== name) return [...open, `/${name}`];
  }
  return open;
}

describe("thsm audit report", () => {
  let page: string;
  let clean: string;

  before(async function () {
    this.timeout(120_000);
    page = await pageOf(busyHistory());
    const honest = new HistoryBuilder();
    const session = honest.openSession();
    honest.makeKey(session);
    honest.signed(session);
    honest.closeSession(session);
    clean = await pageOf(honest);
  });

  it("says first whether all is well", () => {
    expect(clean).to.match(/<title>Clean – audit of test</);
    expect(clean).to.include("<strong>Nothing is wrong</strong>");
    expect(clean).to.not.include("What is wrong");
    expect(page).to.match(/<title>\d findings? – audit of test</);
    expect(page).to.include("What is wrong");
    expect(page).to.include("AUDIT_WRONG_SHARE");
    expect(page).to.match(/ada<\/bdi><\/th><td><span class="tag bad">/);
  });

  it("tells figures that fit the history", async () => {
    const history = busyHistory();
    const source = memoryHistory(history.streams);
    const { statistics, summary } = await collectReport(source, history.cluster);
    expect(statistics).to.include({ requests: 17, signatures: 15, failed: 1, open: 1, tests: 1 });
    expect(summary.signaturesValid).to.equal(statistics.signatures + statistics.tests);
    const nodes = statistics.nodes.values();
    const shares = nodes.reduce((sum, { combined }) => sum + combined, 0);
    expect(shares).to.equal(3 * 15);
    expect(statistics.nodes.get("ada")).to.include({ starts: 1, refused: 1 });
    expect(statistics.refusals.values().map(({ count }) => count)).to.deep.equal([1, 1, 1]);
    expect(Object.fromEntries(statistics.attempts)).to.deep.equal({ 1: 16, 2: 1 });
    expect(statistics.latency.longestMs).to.equal(1800);
    expect(JSON.parse(JSON.stringify(statistics))).to.deep.include({ requests: 17, failed: 1 });
  }).timeout(60_000);

  it("tells only of what is asked for", async () => {
    const scope = { sinceMs: Date.parse("2027-01-01") };
    const none = await pageOf(busyHistory(), { scope, asked: ["--since 2027-01-01"] });
    expect(none).to.include("--since 2027-01-01");
    expect(none).to.include("None: no node was blamed");
  }).timeout(60_000);

  it("is well-formed, and shows foreign text as text", () => {
    for (const text of [page, clean]) {
      expect(unclosed(text)).to.deep.equal([]);
      expect(text).to.not.match(/<script|javascript:|\son\w+=/i);
      expect(text).to.not.match(/\p{Cf}/u);
      expect(text).to.not.match(/\b(src|href|action)\s*=|url\(|@import/i);
    }
    expect(page).to.include("&lt;/bdi&gt;&lt;script&gt;alert(1)&lt;/script&gt; ⟨U+202E⟩gpj.exe");
  });

  it("gives tables captions and heads, and charts a text", () => {
    const tables = page.match(/<table>/g) ?? [];
    expect(tables.length).to.be.greaterThan(8);
    expect(page.match(/<table><caption>[^<]/g)).to.have.length(tables.length);
    expect(page).to.not.match(/<th(?! scope=)[ >]/);
    const charts = page.match(/<svg[^>]*role="img"/g) ?? [];
    expect(charts.length).to.be.greaterThan(1);
    expect(page.match(/<desc[^>]*>[^<]/g)).to.have.length(charts.length);
    expect(page.match(/<svg(?![^>]*(role="img"|aria-hidden))/g)).to.equal(null);
  });

  const chromium = ["chromium", "google-chrome"]
    .map(findProgram)
    .find((program) => program !== undefined);
  // bin/setup --with-browser installs one.
  if (chromium !== undefined) {
    it("opens in a browser without network, scripts and complaints, and prints", async () => {
      const directory = mkdtempSync(join(tmpdir(), "thsm-report-"));
      const asked: string[] = [];
      const pages: Record<string, string> = {
        "http://report.test/page.html": page,
        // What the checks below must see.
        "http://report.test/bad.html": `<img src="http://elsewhere.test/x"><script>console.error("bad")</script>`,
      };
      const proxy = createServer(({ url = "" }, response) => {
        asked.push(url);
        response.setHeader("content-type", "text/html; charset=utf-8");
        response.end(pages[url] ?? "");
      });
      await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
      const { port } = proxy.address() as AddressInfo;
      const browse = async (...flags: string[]): Promise<{ stdout: string; text: string }> => {
        const { stdout, text } = await run(
          chromium,
          [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-default-apps",
            "--disable-extensions",
            `--user-data-dir=${join(directory, "profile")}`,
            `--proxy-server=http://127.0.0.1:${port}`,
            "--proxy-bypass-list=<-loopback>",
            "--enable-logging=stderr",
            "--hide-scrollbars",
            "--timeout=20000",
            ...flags,
          ],
          { env: { ...process.env, HOME: directory } },
        );
        return { stdout: stdout.toString("utf8"), text };
      };
      // The browser's own wishes, which no flag takes from it altogether.
      const wishes = (): string[] => asked.splice(0).filter((url) => /\.test\b/.test(url));
      try {
        const bad = await browse("--dump-dom", "http://report.test/bad.html");
        expect(bad.text).to.include("CONSOLE");
        expect(wishes()).to.include("http://elsewhere.test/x");

        const { stdout, text } = await browse("--dump-dom", "http://report.test/page.html");
        expect(text).to.not.include("CONSOLE");
        expect(wishes()).to.deep.equal(["http://report.test/page.html"]);
        expect(stdout).to.match(/findings?: this history is not what honest members leave behind/);
        expect(stdout).to.not.include("<script");

        const [pdf, png] = [join(directory, "page.pdf"), join(directory, "page.png")];
        await browse(`--print-to-pdf=${pdf}`, "http://report.test/page.html");
        expect(readFileSync(pdf).subarray(0, 5).toString()).to.equal("%PDF-");
        await browse(
          "--window-size=400,1200",
          `--screenshot=${png}`,
          "http://report.test/page.html",
        );
        // Its style is allowed by the page's own policy: most of a plain page would be white.
        expect(readFileSync(png).length).to.be.greaterThan(20_000);
      } finally {
        proxy.close();
        proxy.closeAllConnections();
        rmSync(directory, { recursive: true, force: true });
      }
    }).timeout(240_000);
  }
});
