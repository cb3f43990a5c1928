/**
 * @module Certificates for the servers' and members' ends of TLS, from CAs made for one cluster.
 * Transport only: what a member may do is decided by its NKey, what it said by its identity key.
 */
import {
  createHash,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from "node:crypto";
import { isIP } from "node:net";
import forge from "node-forge";

/** PEM. The key is secret: PKCS#8, not encrypted. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface TlsInput {
  /** Server name → the host names and addresses at which others reach it. */
  readonly servers: Readonly<Record<string, readonly string[]>>;
  /** Names of the members: nodes, clients, operators and so on. */
  readonly members: readonly string[];
  /** Days until the certificates of servers and members end. Default 825. The CAs last 10 years. */
  readonly validDays?: number;
}

export interface TlsCertificates {
  /** Trusted by servers and members. Its key makes further members: keep it offline, or drop it. */
  readonly ca: Certificate;
  readonly servers: Readonly<Record<string, Certificate>>;
  readonly members: Readonly<Record<string, Certificate>>;
  /** Trusted by servers among themselves only: see `NatsClusterInput.tls`. */
  readonly routeCa: Certificate;
  readonly routes: Readonly<Record<string, Certificate>>;
}

/** Fresh CAs, and a certificate of each for everybody. All keys are P-256. */
export function createTls({ servers, members, validDays = 825 }: TlsInput): TlsCertificates {
  const ca = createCa("Threshold HSM members");
  const routeCa = createCa("Threshold HSM routes");
  const forServers = (issuer: Authority, usage: KeyPurpose): Record<string, Certificate> =>
    named(Object.keys(servers), (name) =>
      issue(issuer, { name, hosts: servers[name] ?? [], usage, validDays }),
    );
  return {
    ca: ca.pem,
    servers: forServers(ca, "server"),
    members: named(members, (name) => issue(ca, { name, hosts: [], usage: "member", validDays })),
    routeCa: routeCa.pem,
    routes: forServers(routeCa, "route"),
  };
}

type KeyPurpose = "server" | "member" | "route";

interface Authority {
  readonly name: string;
  readonly key: KeyObject;
  readonly keyId: string;
  readonly pem: Certificate;
}

interface Subject {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly usage: KeyPurpose;
  readonly validDays: number;
}

type Extension = Record<string, unknown>;

function createCa(name: string): Authority {
  const pair = createKeyPair();
  const extensions = [
    { name: "basicConstraints", critical: true, cA: true, pathLenConstraint: 0 },
    { name: "keyUsage", critical: true, keyCertSign: true, cRLSign: true },
  ];
  const cert = certify({ name, validDays: 3650, extensions, pair, issuer: { name, ...pair } });
  return { name, key: pair.key, keyId: pair.keyId, pem: { cert, key: toPem(pair.key) } };
}

function issue(issuer: Authority, { name, hosts, usage, validDays }: Subject): Certificate {
  const pair = createKeyPair();
  const extensions = [
    { name: "basicConstraints", critical: true, cA: false },
    { name: "keyUsage", critical: true, digitalSignature: true },
    // A route is dialled by either side.
    { name: "extKeyUsage", serverAuth: usage !== "member", clientAuth: usage !== "server" },
    ...(hosts.length === 0 ? [] : [{ name: "subjectAltName", altNames: hosts.map(altName) }]),
  ];
  return { cert: certify({ name, validDays, extensions, pair, issuer }), key: toPem(pair.key) };
}

interface Facts {
  readonly name: string;
  readonly validDays: number;
  readonly extensions: readonly Extension[];
  readonly pair: KeyPair;
  readonly issuer: Pick<Authority, "name" | "key" | "keyId">;
}

/**
 * A signed X.509 certificate (RFC 5280), PEM. node-forge lays it out; as it knows no elliptic curves,
 * key and signature algorithm are put in their places here, and node:crypto signs.
 */
function certify({ name, validDays, extensions, pair, issuer }: Facts): string {
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
    { name: "subjectKeyIdentifier", value: element(Type.OCTETSTRING, pair.keyId) },
    { name: "authorityKeyIdentifier", keyIdentifier: issuer.keyId },
  ]);
  const one = new forge.jsbn.BigInteger("1");
  layout.publicKey = forge.pki.setRsaPublicKey(one, one);
  layout.signatureOid = layout.siginfo.algorithmOid = ecdsaWithSha256;
  layout.signature = "";

  const algorithm = element(Type.SEQUENCE, [
    element(Type.OID, forge.asn1.oidToDer(ecdsaWithSha256).getBytes()),
  ]);
  const [toBeSigned] = elementsOf(forge.pki.certificateToAsn1(layout));
  if (toBeSigned === undefined) throw new TypeError("node-forge made no certificate");
  // Version, serial number, *signature algorithm*, issuer, validity, subject, *public key*, …
  const fields = elementsOf(toBeSigned);
  fields[2] = algorithm;
  fields[6] = forge.asn1.fromDer(pair.spki);
  const signature = sign("sha256", toDer(toBeSigned), issuer.key).toString("binary");
  const unusedBits = "\0";
  const certificate = element(Type.SEQUENCE, [
    toBeSigned,
    algorithm,
    element(Type.BITSTRING, unusedBits + signature),
  ]);
  return new X509Certificate(toDer(certificate)).toString();
}

const { Type, Class } = forge.asn1;
const ecdsaWithSha256 = "1.2.840.10045.4.3.2";

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

interface KeyPair {
  readonly key: KeyObject;
  /** SubjectPublicKeyInfo and its identifier, as forge's strings of bytes. */
  readonly spki: string;
  readonly keyId: string;
}

function createKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const keyId = createHash("sha256").update(spki).digest().subarray(0, 20).toString("binary");
  return { key: privateKey, spki: spki.toString("binary"), keyId };
}

function toPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** Types of GeneralName, RFC 5280 section 4.2.1.6: 2 is dNSName, 7 is iPAddress. */
function altName(host: string): object {
  return isIP(host) === 0 ? { type: 2, value: host } : { type: 7, ip: host };
}

function named<T>(names: readonly string[], make: (name: string) => T): Record<string, T> {
  return Object.fromEntries(names.map((name) => [name, make(name)]));
}
