/** @module What `thsm init --compose` writes for the container with Knot DNS. */

/** Places in the container; compose/README.md. */
const pin = "/etc/knot/pin";
const moduleFile = "/usr/local/lib/libthsm-pkcs11.so";

export function knotConfig(zone: string, token: string): string {
  return `# Knot DNS 3.2 in a container: signs ${zone} with keys that it makes in the HSM.
server:
    # The container's own, and empty at each start: a PID file that stays is taken for a running knotd.
    rundir: /tmp
    listen: 0.0.0.0@5300
log:
  - target: stderr
    any: info
database:
    storage: /var/lib/knot
keystore:
  - id: hsm
    backend: pkcs11
    # pin-source keeps the PIN out of this file.
    config: "pkcs11:token=${token};pin-source=${pin} ${moduleFile}"
acl:
  # Whom the signed zone is handed to: the secondaries. These are all private networks.
  - id: secondaries
    address: [127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]
    action: transfer
policy:
  - id: threshold
    keystore: hsm
    algorithm: rsasha256
    ksk-size: 2048
    zsk-size: 2048
zone:
  - domain: ${zone}
    file: /etc/knot/${zone}.zone
    acl: secondaries
    dnssec-signing: on
    dnssec-policy: threshold
    # The file above is read, never written: what Knot adds is in its journal.
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
`;
}

/** A zone to begin with; examples/zone.sh makes larger ones. */
export function exampleZone(zone: string): string {
  return `$ORIGIN ${zone}.
$TTL 3600
@      SOA   ns1 hostmaster 1 3600 900 604800 300
@      NS    ns1
ns1    A     192.0.2.1
www    A     192.0.2.2
child  NS    ns.child
ns.child A   192.0.2.3
`;
}
