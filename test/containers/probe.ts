/**
 * @module What `run.sh` runs inside a container: connects to NATS with the TLS certificate and login
 * key mounted in /etc/thsm (and not without the certificate), does one thing that its role may do,
 * and one that it may not.
 * Usage: probe.js URL MEMBER
 */
import { readFileSync } from "node:fs";
import { connect, nkeyAuthenticator, type NatsConnection } from "nats";

const [url = "", member = ""] = process.argv.slice(2);
const file = (name: string): string => `/etc/thsm/${name}`;

const open = (certificate: object): Promise<NatsConnection> =>
  connect({
    servers: url,
    authenticator: nkeyAuthenticator(readFileSync(file("nats.nk"))),
    inboxPrefix: `_INBOX_${member}`,
    reconnect: false,
    tls: { caFile: file("ca.crt"), ...certificate },
  });

const uncertified = await open({}).catch(() => undefined);
if (uncertified !== undefined) throw new Error("let in without a certificate");
const connection = await open({ certFile: file("member.crt"), keyFile: file("member.key") });

async function ask(subject: string, body: object): Promise<string> {
  try {
    return (await connection.request(subject, JSON.stringify(body), { timeout: 5_000 })).string();
  } catch (error) {
    return String(error);
  }
}

const stream = { name: "THSM_SHARE", subjects: ["thsm.v1.share.>"], max_bytes: 2 ** 20 };
const [allowed, expected, refused] =
  member === "provisioner"
    ? (["$JS.API.STREAM.CREATE.THSM_SHARE", /"created"/, "thsm.v1.share.n1.knot.s.r"] as const)
    : ([
        `thsm.v1.share.${member}.knot.s.r`,
        /"stream":"THSM_SHARE"/,
        "thsm.v1.req.knot.s.r",
      ] as const);
const answers = [await ask(allowed, stream), await ask(refused, {})] as const;
await connection.close();
if (!expected.test(answers[0]) || !/permissions violation/i.test(answers[1])) {
  throw new Error(`${member} got: ${answers.join("; ")}`);
}
console.log(`${member}: certificate, login and permissions work`);
