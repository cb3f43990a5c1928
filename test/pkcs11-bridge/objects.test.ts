/** @module Calls about objects, names and PINs, as the daemon answers them. */
import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/log.js";
import { cka, cko, ckr } from "../../src/pkcs11-bridge/ckr.js";
import { handlesOf } from "../../src/pkcs11-bridge/objects.js";
import { Reader, Writer } from "../../src/pkcs11-bridge/rpc/codec.js";
import { opNumber, type OpName } from "../../src/pkcs11-bridge/rpc/ops.js";
import { Pkcs11Server } from "../../src/pkcs11-bridge/server.js";
import { FakeClient } from "./fake-client.js";
import { RawModule } from "./raw-module.js";

const pin = "1234";

describe("the daemon, asked about objects and PINs", function () {
  this.timeout(60_000);
  let directory: string;
  let socketPath: string;
  let client: FakeClient;
  let server: Pkcs11Server;
  let module: RawModule;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "thsm-p11-"));
    socketPath = join(directory, "daemon.sock");
    client = new FakeClient({ tokens: ["dns"] });
    server = new Pkcs11Server({
      socketPath,
      socketMode: 0o600,
      peers: "modes",
      maxConnections: 20,
      maxConnectionsPerApplication: 20,
      maxConnectionsPerUser: 20,
      maxCallsPerApplication: 20,
      maxCallsPerUser: 20,
      drainMs: 300,
      log: silentLogger,
      client: () => client,
    });
    await server.listen();
    module = await RawModule.open(socketPath);
  });

  afterEach(async () => {
    module.close();
    await server.close();
    rmSync(directory, { recursive: true });
  });

  function storeBody(
    operation: Uint8Array,
    objectClass: number = cko.DATA,
    label = "note",
  ): Writer {
    return new Writer()
      .text("dns")
      .fixed(operation)
      .u32(objectClass)
      .u16(2)
      .u32(cka.LABEL)
      .text(label)
      .u32(cka.VALUE)
      .bytes(Buffer.from("value"));
  }

  /** `undefined`: the name stays. */
  function relabelBody(handle: bigint, label?: Uint8Array, id?: Uint8Array): Writer {
    const body = new Writer().text("dns").u64(handle);
    for (const name of [label, id]) {
      if (name === undefined) body.u8(0);
      else body.u8(1).bytes(name);
    }
    return body;
  }

  async function makeKey(): Promise<{ publicKey: bigint; privateKey: bigint }> {
    const { keyId } = await client.generateKey({ token: "dns", label: "key", modulusBits: 1024 });
    return handlesOf(keyId);
  }

  it("stores one object for one operation id, however often it is sent", async () => {
    await module.login("dns", pin);
    const operation = randomBytes(16);
    const first = await module.call("store", storeBody(operation));
    expect(first.code).to.equal(ckr.OK);
    const again = await module.call("store", storeBody(operation));
    expect(again.body.equals(first.body)).to.equal(true);
    expect(await client.objects("dns")).to.have.length(1);
    const other = await module.call("store", storeBody(randomBytes(16)));
    expect(other.body.equals(first.body)).to.equal(false);
    const handle = new Reader(first.body).u64();
    const gone = new Writer().text("dns").u64(handle);
    expect((await module.call("destroy", gone)).code).to.equal(ckr.OK);
    const repeated = new Writer().text("dns").u64(handle);
    expect((await module.call("destroy", repeated)).code).to.equal(ckr.OBJECT_HANDLE_INVALID);
    expect(await client.objects("dns")).to.have.length(1);
  });

  it("stores no keys, and no label that is no text", async () => {
    await module.login("dns", pin);
    for (const objectClass of [cko.PUBLIC_KEY, cko.PRIVATE_KEY, 0xffffffff]) {
      const body = storeBody(randomBytes(16), objectClass);
      expect((await module.call("store", body)).code).to.equal(ckr.ATTRIBUTE_VALUE_INVALID);
    }
    const body = new Writer().text("dns").fixed(randomBytes(16)).u32(cko.DATA).u16(1);
    body.u32(cka.LABEL).bytes(Uint8Array.of(0xff));
    expect((await module.call("store", body)).code).to.equal(ckr.ATTRIBUTE_VALUE_INVALID);
    expect(await client.objects("dns")).to.have.length(0);
  });

  it("gives a key and an object other names, and leaves what is not named", async () => {
    await module.login("dns", pin);
    const { privateKey, publicKey } = await makeKey();
    const [before] = await client.keys("dns");
    expect((await module.call("relabel", relabelBody(privateKey, Buffer.from("b")))).code).to.equal(
      ckr.OK,
    );
    expect((await client.keys("dns"))[0]).to.include({ label: "b", id: before?.id });
    const id = Uint8Array.of(1, 2);
    expect((await module.call("relabel", relabelBody(publicKey, undefined, id))).code).to.equal(
      ckr.OK,
    );
    const [after] = await client.keys("dns");
    expect(after?.label).to.equal("b");
    expect(Buffer.from(after?.id ?? []).equals(id)).to.equal(true);
    const stored = await module.call("store", storeBody(randomBytes(16)));
    const handle = new Reader(stored.body).u64();
    expect((await module.call("relabel", relabelBody(handle, Buffer.from("c")))).code).to.equal(
      ckr.OK,
    );
    expect((await client.objects("dns"))[0]?.label).to.equal("c");
    const wrong = relabelBody(handle, Uint8Array.of(0xff));
    expect((await module.call("relabel", wrong)).code).to.equal(ckr.ATTRIBUTE_VALUE_INVALID);
    expect((await module.call("relabel", relabelBody(2n))).code).to.equal(
      ckr.OBJECT_HANDLE_INVALID,
    );
  });

  it("changes and stores nothing without a login", async () => {
    const { privateKey } = await makeKey();
    for (const [op, body] of [
      ["store", storeBody(randomBytes(16))],
      ["relabel", relabelBody(privateKey, Buffer.from("b"))],
      ["destroy", new Writer().text("dns").u64(privateKey)],
    ] as const) {
      expect((await module.call(op, body)).code, op).to.equal(ckr.USER_NOT_LOGGED_IN);
    }
    expect((await client.keys("dns"))[0]?.label).to.equal("key");
  });

  it("changes the PIN for the old one only, and for one that is text", async () => {
    const change = (from: Uint8Array, to: Uint8Array): Writer =>
      new Writer().text("dns").bytes(from).bytes(to);
    const [old, wanted] = [Buffer.from(pin), Buffer.from("5678")];
    const wrong = change(Buffer.from("no"), wanted);
    expect((await module.call("set-pin", wrong)).code).to.equal(ckr.PIN_INCORRECT);
    const noText = change(old, Uint8Array.of(0xff));
    expect((await module.call("set-pin", noText)).code).to.equal(ckr.PIN_INVALID);
    expect(client.pin).to.equal(pin);
    const { code, body } = await module.call("set-pin", change(old, wanted));
    expect(code).to.equal(ckr.OK);
    const resume = new Writer().text("dns").bytes(new Reader(body).bytes());
    expect((await module.call("resume", resume)).code).to.equal(ckr.OK);
    expect((await module.login("dns", pin)).code).to.equal(ckr.PIN_INCORRECT);
  });

  it("sets the PIN with the recovery code only, and to one that is a PIN", async () => {
    const code = Buffer.from("recovery");
    const check = (from: Uint8Array): Writer => new Writer().text("dns").bytes(from);
    const reset = (from: Uint8Array, to: Uint8Array): Writer => check(from).bytes(to);
    expect((await module.call("check-code", check(Buffer.from("no")))).code).to.equal(
      ckr.PIN_INCORRECT,
    );
    expect((await module.call("check-code", check(code))).code).to.equal(ckr.OK);
    const wanted = Buffer.from("5678");
    const wrong = reset(Buffer.from("no"), wanted);
    expect((await module.call("reset-pin", wrong)).code).to.equal(ckr.PIN_INCORRECT);
    for (const none of [Buffer.from("5"), Uint8Array.of(0xff)]) {
      expect((await module.call("reset-pin", reset(code, none))).code).to.equal(ckr.PIN_INVALID);
    }
    expect(client.pin).to.equal(pin);
    const { code: result, body } = await module.call("reset-pin", reset(code, wanted));
    // No ticket: the officer is not logged in as the user.
    expect([result, body.length]).to.deep.equal([ckr.OK, 0]);
    expect(client.pin).to.equal("5678");
  });

  it("takes a note about anything, for a token that it has", async () => {
    for (const what of [1, 0, 255]) {
      expect((await module.call("note", new Writer().text("dns").u8(what))).code).to.equal(ckr.OK);
    }
    const elsewhere = new Writer().text("none").u8(1);
    expect((await module.call("note", elsewhere)).code).to.equal(ckr.TOKEN_NOT_RECOGNIZED);
  });

  it("closes on bodies that end early or late, at every length", async () => {
    const bodies: Partial<Record<OpName, Writer>> = {
      relabel: relabelBody(1n, Buffer.from("b"), Buffer.from("c")),
      store: storeBody(randomBytes(16)),
      "set-pin": new Writer().text("dns").text("no").text("5678"),
      "check-code": new Writer().text("dns").text("no"),
      "reset-pin": new Writer().text("dns").text("no").text("5678"),
      note: new Writer().text("dns").u8(1),
    };
    for (const [op, body] of Object.entries(bodies) as [OpName, Writer][]) {
      const whole = body.finish();
      const wrong = Array.from(whole, (_, length) => whole.subarray(0, length));
      for (const bytes of [...wrong, Buffer.concat([whole, Buffer.alloc(1)])]) {
        const one = await RawModule.open(socketPath);
        one.request(opNumber(op), bytes);
        expect(await one.receive(), `${op}, ${bytes.length} bytes`).to.equal(undefined);
        one.close();
      }
    }
    expect((await module.login("dns", pin)).code).to.equal(ckr.OK);
  });
});
