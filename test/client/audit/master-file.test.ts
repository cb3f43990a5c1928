import { expect } from "chai";
import * as fc from "fast-check";
import {
  rrsigOf,
  zoneKeyOf,
  zoneRecords,
  type ZoneRecord,
} from "../../../src/client/audit/master-file.js";
import { parseQuestion } from "../../../src/client/audit/question.js";
import { HsmError } from "../../../src/errors.js";

async function parsed(text: string): Promise<ZoneRecord[]> {
  const records: ZoneRecord[] = [];
  for await (const record of zoneRecords(text.split("\n"))) records.push(record);
  return records;
}

const signature = Buffer.alloc(128, 0xa5).toString("base64");

describe("a master file", () => {
  it("is read as BIND writes it: names left out, entries over several lines", async () => {
    const records = await parsed(`; File written on Sun Nov 22
$ORIGIN example.org.
$TTL 300
@\t3600 IN SOA ns host (
\t\t\t\t2026 ; serial
\t\t\t\t7200 ) ; the rest is left out
\t\t\t3600\tRRSIG\tSOA 8 2 3600 (
\t\t\t\t\t20260401000000 20260301000000 12345 example.org.
\t\t\t\t\t${signature.slice(0, 60)}
\t\t\t\t\t${signature.slice(60)} )
www\t\t\tIN 300 A\t192.0.2.1
`);
    expect(records.map(({ owner, type, line }) => [owner, type, line])).to.deep.equal([
      ["example.org.", "SOA", 4],
      ["example.org.", "RRSIG", 7],
      ["www.example.org.", "A", 11],
    ]);
    const [, record] = records;
    if (record === undefined) throw new RangeError("no RRSIG");
    expect(rrsigOf(record)).to.deep.include({
      covered: "SOA",
      algorithm: 8,
      keyTag: 12345,
      signer: "example.org.",
      signature: Buffer.from(signature, "base64").toString("base64url"),
    });
  });

  it("is read as ldns and Knot write it: absolute names, comments behind", async () => {
    const records = await parsed(
      `EXAMPLE.org.\t300\tIN\tTXT\t"a ; b" "c \\" (d"\nexample.org. 300 RRSIG TXT 8 2 300 20260401000000 20260301000000 1 example.org. ${signature} ;{id = 1}\n\\@.x\\.y.org. NS a.`,
    );
    expect(records.map(({ owner }) => owner)).to.deep.equal([
      "example.org.",
      "example.org.",
      "\\@.x\\.y.org.",
    ]);
    expect(records[0]?.data).to.deep.equal(["a ; b", 'c \\" (d']);
  });

  it("knows a key by the tag that the RFC gives", async () => {
    // RFC 5702, section 6.1.
    const [record] = await parsed(`example.net. 3600 IN DNSKEY (256 3 8 AwEAAcFcGsaxxdgiuuGmCkVI
      my4h99CqT7jwY3pexPGcnUFtR2Fh36BponcwtkZ4cAgtvd4Qs8P
      kxUdp6p/DlUmObdk= );{id = 9033 (zsk), size = 512b}`);
    if (record === undefined) throw new RangeError("no DNSKEY");
    expect(zoneKeyOf(record)).to.include({ keyTag: 9033, flags: 256, owner: "example.net." });
  });

  it("is refused with the line when it is none", async () => {
    const wrong: [text: string, line: string][] = [
      ["a. IN A (\n1", "line 1"],
      ["a. IN A 1 )", "line 1"],
      ["\n\n a 1", "line 3"],
      ['a. TXT "never closed', "line 1"],
      ["$INCLUDE /etc/passwd", "line 1"],
      ["a. 300 IN", "line 1"],
      [`a. TXT (\n${"x".repeat(1 << 20)}\n`, "line 1"],
    ];
    for (const [text, line] of wrong) {
      const error: unknown = await parsed(text).catch((cause: unknown) => cause);
      expect(error, text.slice(0, 40)).to.be.instanceOf(HsmError);
      expect(String(error)).to.contain(line);
    }
  });

  it("means the same however it is laid out", async () => {
    const token = fc.stringMatching(/^[a-zA-Z0-9+/=.-]{1,20}$/);
    const space = fc.constantFrom(" ", "\t", " \t ", " (\n ", ' ; comment ) ( "\n\t');
    const record = fc.record({
      owner: fc.stringMatching(/^[a-z0-9_-]{1,12}(\.[a-z0-9-]{1,8})?$/),
      type: fc.constantFrom("A", "RRSIG", "TYPE65534", "DNSKEY"),
      data: fc.array(token, { minLength: 1, maxLength: 6 }),
      spaces: fc.array(space, { minLength: 6, maxLength: 6 }),
      ttl: fc.constantFrom("", " 300", " IN", " 1h IN", " CLASS1 60"),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 5 }), async (all) => {
        const text = all.map(({ owner, type, ttl, data, spaces }) => {
          // A comment can only end a line inside of parentheses.
          const tokens = data.map((one, index) => `${one}${spaces[index]?.replace("(", "")}`);
          return `${owner}${ttl} ${type} (${tokens.join("")})\n`;
        });
        const records = await parsed(`$ORIGIN z.\n${text.join("")}`);
        expect(records.map(({ owner, type, data }) => ({ owner, type, data }))).to.deep.equal(
          all.map(({ owner, type, data }) => ({ owner: `${owner}.z.`, type, data })),
        );
      }),
    );
  });

  it("fails in one way only, whatever the bytes", async () => {
    const piece = fc.constantFrom(
      "(",
      ")",
      '"',
      "\\",
      ";",
      "\n",
      " ",
      "$ORIGIN",
      "@",
      "RRSIG",
      "DNSKEY",
      "8",
      "a.",
      "\u0000",
      "é",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(piece, fc.string()), { maxLength: 40 }), async (parts) => {
        try {
          for (const record of await parsed(parts.join(""))) {
            if (record.type === "RRSIG") rrsigOf(record);
            if (record.type === "DNSKEY") zoneKeyOf(record);
          }
        } catch (error) {
          expect(error).to.be.instanceOf(HsmError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a question to the audit", () => {
  const inBase64url = Buffer.from(signature, "base64").toString("base64url");
  const rdata = `RRSIG A 8 2 300 20260401000000 20260301000000 1 z. ${signature}`;

  it("may be a request id, a signature, or an RRSIG record in any layout", async () => {
    const rid = "vD1mR1mPZ7Yt8Jq0K3xw5A";
    expect(await parseQuestion(` ${rid}\n`)).to.deep.equal({ rid });
    for (const text of [signature, inBase64url, signature.replaceAll(/(.{64})/g, "$1\n")]) {
      expect(await parseQuestion(text)).to.deep.equal({ signature: inBase64url });
    }
    for (const text of [
      rdata,
      `www.z. 300 IN ${rdata}`,
      `www.z. ${rdata.replace("z. ", "z. (\n ")})`,
    ]) {
      expect(await parseQuestion(text)).to.deep.include({ signature: inBase64url });
    }
  });

  it("is refused when it is something else", async () => {
    for (const text of [
      "",
      "short",
      "www.example.org",
      "RRSIG",
      "; RRSIG A",
      "RRSIG A 8 2 x",
      "()",
    ]) {
      const error: unknown = await parseQuestion(text).catch((cause: unknown) => cause);
      expect(error, text).to.include({ code: "ERR_INVALID_ARGUMENT" });
    }
  });
});
