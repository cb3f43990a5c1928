#!/bin/sh
# Prints a zone that looks like a small registry's: delegations with and without DS, hosts, mail,
# text, a wildcard, internationalised names. Usage: examples/zone.sh ORIGIN [DELEGATIONS]
origin=${1:-example}
delegations=${2:-200}
cat <<END
\$ORIGIN $origin.
\$TTL 3600
@               SOA     ns1 hostmaster 1 3600 900 604800 300
@               NS      ns1
@               NS      ns2
@               MX      10 mail
@               TXT     "v=spf1 mx -all"
@               CAA     0 issue "ca.$origin"
ns1             A       192.0.2.1
ns1             AAAA    2001:db8::1
ns2             A       192.0.2.2
ns2             AAAA    2001:db8::2
mail            A       192.0.2.3
_dmarc          TXT     "v=DMARC1; p=reject"
_sip._tcp       SRV     0 5 5060 www
*.wild          TXT     "any name below wild"
*.pages         CNAME   www
www             A       192.0.2.4
www             AAAA    2001:db8::4
xn--bcher-kva   A       192.0.2.5
xn--bcher-kva   TXT     "b\195\188cher"
xn--80ak6aa92e  CNAME   www
xn--fiqs8s      NS      ns.xn--fiqs8s
ns.xn--fiqs8s   A       192.0.2.6
END
i=1
while [ "$i" -le "$delegations" ]; do
  name=$(printf 'd%04d' "$i")
  printf '%s NS ns.%s\n%s NS ns2.registrar-%d.net.\nns.%s A 198.51.100.%d\n' \
    "$name" "$name" "$name" "$((i % 7))" "$name" "$((i % 250 + 1))"
  if [ $((i % 2)) -eq 0 ]; then
    # A digest like any other: what matters is that the set is signed.
    printf '%s DS %d 8 2 %064x\n' "$name" "$((i + 10000))" "$((i * 7919))"
  fi
  i=$((i + 1))
done
i=1
while [ "$i" -le 80 ]; do
  printf 'host%03d A 203.0.113.%d\n' "$i" "$((i % 250 + 1))"
  [ $((i % 4)) -ne 0 ] || printf 'host%03d TXT "rack %d"\n' "$i" "$((i % 12))"
  i=$((i + 1))
done
