/**
 * @module Certificates for the servers' and members' ends of TLS, from CAs made for one cluster, for
 * keys that their owners keep to themselves.
 * Transport only: what a member may do is decided by its NKey, what it said by its identity key.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  verify,
  X509Certificate,
  type KeyObject,
} from "node:crypto";
import { isIP } from "node:net";
import forge from "node-forge";
import { describeError, HsmError } from "../errors.js";

/** PEM. The key is secret: PKCS#8, not encrypted. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A key that stays where it is made, and what a CA needs to certify it. PEM both. */
export interface TlsKey {
  readonly key: string;
  /** PKCS#10 (RFC 2986), signed with the key. Public. */
  readonly request: string;
}

/** What a certificate is for: a server's clients' endpoint, a member, a server's routes to others. */
export type TlsUsage = "server" | "member" | "route";

export interface TlsSubject {
  readonly name: string;
  /** Host names and addresses at which others reach it; of members none. */
  readonly hosts: readonly string[];
  readonly usage: TlsUsage;
  /** Days until it ends. Default 825. CAs last 10 years. */
  readonly validDays?: number;
}

/** A new P-256 key of `name`. */
export function createTlsKey(name: string): TlsKey {
  const pair = createKeyPair();
  const info = element(Type.SEQUENCE, [
    element(Type.INTEGER, "\0"),
    distinguishedName(name),
    forge.asn1.fromDer(pair.spki),
    forge.asn1.create(Class.CONTEXT_SPECIFIC, 0, true, []),
  ]);
  const request = toDer(element(Type.SEQUENCE, [info, ecdsa(), signatureOf(info, pair.key)]));
  return { key: toPem(pair.key), request: pemOf("CERTIFICATE REQUEST", request) };
}

/** A CA of one cluster. Its key makes members and servers: keep it offline. */
export class Authority {
  readonly pem: Certificate;
  readonly #name: string;
  readonly #key: KeyObject;
  readonly #keyId: string;

  /** @throws HsmError `ERR_INVALID_CONFIG` unless it is a CA's certificate with its P-256 key. */
  constructor(pem: Certificate) {
    try {
      const cert = new X509Certificate(pem.cert);
      const [, name] = /^CN=(.+)$/.exec(cert.subject) ?? [];
      this.#key = createPrivateKey(pem.key);
      if (name === undefined || !cert.ca || !cert.checkPrivateKey(this.#key)) {
        throw new TypeError("the certificate is no CA's, or the key is not its key");
      }
      this.#name = name;
      this.#keyId = keyIdOf(cert.publicKey.export({ type: "spki", format: "der" }));
      this.pem = pem;
    } catch (cause) {
      throw new HsmError("ERR_INVALID_CONFIG", `no CA: ${describeError(cause)}`, { cause });
    }
  }

  static create(name: string): Authority {
    const pair = createKeyPair();
    const extensions = [
      { name: "basicConstraints", critical: true, cA: true, pathLenConstraint: 0 },
      { name: "keyUsage", critical: true, keyCertSign: true, cRLSign: true },
    ];
    const issuer = { name, key: pair.key, keyId: pair.keyId };
    const cert = certify({ name, validDays: 3650, extensions, owner: pair, issuer });
    return new Authority({ cert, key: toPem(pair.key) });
  }

  /**
   * A certificate for the key of a request. Name and hosts are the caller's word, not the request's.
   * @throws HsmError `ERR_INVALID_ARGUMENT` unless its key is P-256 and has signed it
   */
  certify(request: string, { name, hosts, usage, validDays = 825 }: TlsSubject): string {
    const owner = ownerOf(request);
    if (owner === undefined) {
      throw new HsmError("ERR_INVALID_ARGUMENT", `${name}: no certificate request for a P-256 key`);
    }
    const extensions = [
      { name: "basicConstraints", critical: true, cA: false },
      { name: "keyUsage", critical: true, digitalSignature: true },
      // A route is dialled by either side.
      { name: "extKeyUsage", serverAuth: usage !== "member", clientAuth: usage !== "server" },
      ...(hosts.length === 0 ? [] : [{ name: "subjectAltName", altNames: hosts.map(altName) }]),
    ];
    const issuer = { name: this.#name, key: this.#key, keyId: this.#keyId };
    return certify({ name, validDays, extensions, owner, issuer });
  }
}

/** Undefined unless the request is one, for a P-256 key that has signed it. */
function ownerOf(request: string): KeyOwner | undefined {
  try {
    const [info, algorithm, signature] = elementsOf(
      forge.asn1.fromDer(derOf("CERTIFICATE REQUEST", request).toString("binary")),
    );
    const spkiValue = info === undefined ? undefined : elementsOf(info)[2];
    if (info === undefined || spkiValue === undefined || signature === undefined) {
      return undefined;
    }
    const spki = toDer(spkiValue);
    const key = createPublicKey({ key: spki, format: "der", type: "spki" });
    const isP256 = key.asymmetricKeyDetails?.namedCurve === "prime256v1";
    const isEcdsa = algorithm !== undefined && toDer(algorithm).equals(toDer(ecdsa()));
    // After type, length and count of unused bits; forge takes its content for ASN.1, which it is.
    const bytes = toDer(signature).subarray(3);
    if (!isP256 || !isEcdsa || !verify("sha256", toDer(info), key, bytes)) return undefined;
    return { spki: spki.toString("binary"), keyId: keyIdOf(spki) };
  } catch {
    return undefined;
  }
}

type Extension = Record<string, unknown>;

interface Facts {
  readonly name: string;
  readonly validDays: number;
  readonly extensions: readonly Extension[];
  readonly owner: KeyOwner;
  readonly issuer: { readonly name: string; readonly key: KeyObject; readonly keyId: string };
}

/**
 * A signed X.509 certificate (RFC 5280), PEM. node-forge lays it out; as it knows no elliptic curves,
 * key and signature algorithm are put in their places here, and node:crypto signs.
 */
function certify({ name, validDays, extensions, owner, issuer }: Facts): string {
  const layout = forge.pki.createCertificate();
  const now = Date.now();
  // Positive and without leading zeros, as DER wants it.
  layout.serialNumber = `4${randomBytes(16).toString("hex").slice(1)}`;
  // Clocks of other machines may be behind.
  layout.validity.notBefore = new Date(now - 3_600_000);
  layout.validity.notAfter = new Date(now + validDays * 86_400_000);
  layout.setSubject([{ name: "commonName", value: name }]);
  layout.setIssuer([{ name: "commonName", value: issuer.name }]);
  layout.setExtensions([
    ...extensions,
    { name: "subjectKeyIdentifier", value: element(Type.OCTETSTRING, owner.keyId) },
    { name: "authorityKeyIdentifier", keyIdentifier: issuer.keyId },
  ]);
  const one = new forge.jsbn.BigInteger("1");
  layout.publicKey = forge.pki.setRsaPublicKey(one, one);
  layout.signatureOid = layout.siginfo.algorithmOid = ecdsaWithSha256;
  layout.signature = "";

  const [toBeSigned] = elementsOf(forge.pki.certificateToAsn1(layout));
  if (toBeSigned === undefined) throw new TypeError("node-forge made no certificate");
  // Version, serial number, *signature algorithm*, issuer, validity, subject, *public key*, …
  const fields = elementsOf(toBeSigned);
  fields[2] = ecdsa();
  fields[6] = forge.asn1.fromDer(owner.spki);
  const signature = signatureOf(toBeSigned, issuer.key);
  const certificate = element(Type.SEQUENCE, [toBeSigned, ecdsa(), signature]);
  return new X509Certificate(toDer(certificate)).toString();
}

const { Type, Class } = forge.asn1;
const ecdsaWithSha256 = "1.2.840.10045.4.3.2";

/** The AlgorithmIdentifier of RFC 5758. */
function ecdsa(): forge.asn1.Asn1 {
  return element(Type.SEQUENCE, [
    element(Type.OID, forge.asn1.oidToDer(ecdsaWithSha256).getBytes()),
  ]);
}

function signatureOf(value: forge.asn1.Asn1, key: KeyObject): forge.asn1.Asn1 {
  const unusedBits = "\0";
  const signature = sign("sha256", toDer(value), key).toString("binary");
  return element(Type.BITSTRING, unusedBits + signature);
}

/** A Name with nothing but the common name. */
function distinguishedName(name: string): forge.asn1.Asn1 {
  const oid = forge.asn1.oidToDer(forge.pki.oids["commonName"] ?? "").getBytes();
  const attribute = [element(Type.OID, oid), element(Type.UTF8, name)];
  return element(Type.SEQUENCE, [element(Type.SET, [element(Type.SEQUENCE, attribute)])]);
}

function pemOf(label: string, der: Buffer): string {
  const lines = der.toString("base64").replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/** Throws unless it is exactly what `pemOf` writes. */
function derOf(label: string, pem: string): Buffer {
  const [, body = ""] = new RegExp(`^-----BEGIN ${label}-----\n([^-]+)-----END`).exec(pem) ?? [];
  const der = Buffer.from(body, "base64");
  if (pemOf(label, der) !== pem) throw new TypeError("not PEM as it is written here");
  return der;
}

function element(type: forge.asn1.Type, value: string | forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return forge.asn1.create(Class.UNIVERSAL, type, typeof value !== "string", value);
}

function elementsOf({ value }: forge.asn1.Asn1): forge.asn1.Asn1[] {
  if (typeof value === "string") throw new TypeError("expected a constructed ASN.1 value");
  return value;
}

function toDer(value: forge.asn1.Asn1): Buffer {
  return Buffer.from(forge.asn1.toDer(value).getBytes(), "binary");
}

/** SubjectPublicKeyInfo and its identifier, as forge's strings of bytes. */
interface KeyOwner {
  readonly spki: string;
  readonly keyId: string;
}

interface KeyPair extends KeyOwner {
  readonly key: KeyObject;
}

function createKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  return { key: privateKey, spki: spki.toString("binary"), keyId: keyIdOf(spki) };
}

function keyIdOf(spki: Uint8Array): string {
  return createHash("sha256").update(spki).digest().subarray(0, 20).toString("binary");
}

function toPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** Types of GeneralName, RFC 5280 section 4.2.1.6: 2 is dNSName, 7 is iPAddress. */
function altName(host: string): object {
  return isIP(host) === 0 ? { type: 2, value: host } : { type: 7, ip: host };
}
