import { expect } from "chai";
import * as fc from "fast-check";
import { Reader, Writer } from "../../src/pkcs11-bridge/rpc/codec.js";
import { frame, FrameReader, maxRequestBytes } from "../../src/pkcs11-bridge/rpc/framing.js";
import { parseHello, parseRequest } from "../../src/pkcs11-bridge/rpc/messages.js";
import { opNames, parsers } from "../../src/pkcs11-bridge/rpc/ops.js";
import { HsmError } from "../../src/errors.js";
import { helloPayload } from "./raw-module.js";

describe("the protocol's codec", () => {
  it("reads what it wrote", () => {
    fc.assert(
      fc.property(
        fc.nat(0xff),
        fc.nat(0xffff),
        fc.nat(0xffffffff),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.uint8Array(),
        fc.string({ unit: "grapheme" }),
        (a, b, c, d, e, f) => {
          const payload = new Writer().u8(a).u16(b).u32(c).u64(d).bytes(e).text(f).finish();
          const reader = new Reader(payload);
          expect([reader.u8(), reader.u16(), reader.u32(), reader.u64()]).to.deep.equal([
            a,
            b,
            c,
            d,
          ]);
          expect(reader.bytes().equals(e)).to.equal(true);
          expect(reader.text()).to.equal(f);
          reader.end();
        },
      ),
    );
  });

  it("cuts frames out of any slicing of the stream", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 60 }),
        (payloads, step) => {
          const stream = Buffer.concat(payloads.map((payload) => frame(payload)));
          const reader = new FrameReader();
          const got: Buffer[] = [];
          for (let at = 0; at < stream.length; at += step) {
            got.push(...reader.push(stream.subarray(at, at + step)));
          }
          expect(got.map((payload) => [...payload])).to.deep.equal(payloads.map((p) => [...p]));
          expect(reader.isPartial).to.equal(false);
        },
      ),
    );
  });

  it("refuses empty and oversized frames before their content comes", () => {
    for (const length of [0, maxRequestBytes + 1, 0xffffffff]) {
      const header = Buffer.alloc(4);
      header.writeUInt32BE(length);
      expect(() => new FrameReader().push(header)).to.throw(HsmError);
    }
  });

  it("throws nothing but ERR_INVALID_MESSAGE on any bytes, or a refusal of a parameter", () => {
    const parse: readonly ((bytes: Uint8Array) => unknown)[] = [
      parseHello,
      parseRequest,
      ...opNames.map((name) => (bytes: Uint8Array) => parsers[name](new Reader(bytes))),
    ];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(parse.length - 1), (bytes, which) => {
        try {
          parse[which]?.(bytes);
        } catch (error) {
          const isExpected =
            (error instanceof HsmError && error.code === "ERR_INVALID_MESSAGE") ||
            (error instanceof Error && "ckr" in error);
          expect(isExpected, String(error)).to.equal(true);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses every shortened hello and every longer one", () => {
    const hello = helloPayload();
    expect(parseHello(hello)).to.include({ version: 2, pid: 4711, program: "raw" });
    for (let length = 0; length < hello.length; length++) {
      expect(() => parseHello(hello.subarray(0, length))).to.throw(HsmError);
    }
    expect(() => parseHello(Buffer.concat([hello, Buffer.alloc(1)]))).to.throw(HsmError);
  });
});
