#!/usr/bin/env bash
# Tries all of compose/ on a machine without an image registry: makes a base image with debootstrap,
# builds ours on it, starts every container of compose.yaml on the files of thsm init, has Knot sign a
# zone, ends two nodes, signs again. Needs root on Debian; takes some minutes. Images and containers
# live in a storage of their own, which goes away at the end.
#   KEEP=1    leave the images for the next run, which is then quicker
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "test/containers/run.sh: needs root on Debian (it installs podman and makes a base image)" >&2
  exit 77
fi
if [ "${1:-}" != --bounded ]; then
  # In a process group of its own: the end of time, or a signal to us, reaches all that runs, and
  # the trap below cleans up.
  timeout --kill-after=60 1200 bash "$0" --bounded &
  bounded=$!
  trap 'kill "$bounded"' INT TERM
  wait "$bounded" || wait "$bounded"
  exit
fi

say() { echo "containers: $*"; }
fail() {
  say "$*" >&2
  exit 1
}

# Two at once would remove each other's containers.
exec 9>/var/tmp/thsm-test-containers.lock
flock --nonblock 9 || fail "another run is under way"

missing=()
for pair in podman:podman podman-compose:podman-compose buildah:buildah runc:runc debootstrap:debootstrap \
  iptables:iptables /usr/lib/podman/netavark:netavark /usr/lib/podman/aardvark-dns:aardvark-dns; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
fi

work=$(mktemp -d)
deployment=$work/deployment
zone=threshold.example
storage=/var/tmp/thsm-test-containers
project=thsm-test-compose
# Without systemd, podman has nobody to call its health checks; they are called below.
export DISABLE_HC_SYSTEMD=true
export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$storage/images"
runroot = "$storage/run"
END
# The limits are for machines where they cannot be raised, as podman would otherwise try to.
cat >"$CONTAINERS_CONF" <<'END'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
[network]
network_backend = "netavark"
END

# All that is in the storage is ours. Networks are the machine's: by name.
cleanup() {
  set +e
  {
    podman rm --all --force --time 2
    podman network rm "${project}_bus" "${project}_dns"
    podman volume rm --all
    buildah rm --all
    if [ "${KEEP:-}" != 1 ]; then
      podman rmi --all --force
      umount "$storage/images/overlay"
      rm -rf --one-file-system "$storage"
    fi
  } >/dev/null 2>&1
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

logged() {
  "$@" >"$work/log" 2>&1 9>&- || {
    tail -n 30 "$work/log" >&2
    fail "this failed: $*"
  }
}

container() { echo "${project}_$1_1"; }
# wait_log SECONDS SERVICE COUNT PATTERN: until so many lines of the service's log match.
wait_log() {
  for _ in $(seq "$1"); do
    podman logs "$(container "$2")" >"$work/$2.log" 2>&1
    [ "$(grep -Ec "$4" "$work/$2.log")" -lt "$3" ] || return 0
    if grep -q ' critical: ' "$work/$2.log"; then break; fi
    sleep 1
  done
  tail -n 20 "$work/$2.log" >&2
  fail "$2 did not log /$4/ $3 times within $1 s"
}

# Fetches the zone from the published address and has it judged by Knot's and by BIND's validator.
validate() {
  kdig @127.0.0.1 -p "$port" +tcp +noidn +noall +answer AXFR "$zone" >"$work/zone" ||
    { cat "$work/zone" >&2; fail "no transfer of the zone"; }
  logged kzonecheck -o "$zone" -d on "$work/zone"
  logged dnssec-verify -o "$zone" "$work/zone"
  awk '$4 == "RRSIG"' "$work/zone" | sort >"$work/signatures"
  signatures=$(wc -l <"$work/signatures")
}

logged bin/setup
if ! podman image exists localhost/thsm-test-base; then
  say "base image with debootstrap"
  logged debootstrap --variant=minbase bookworm "$work/base" http://deb.debian.org/debian
  tar -C "$work/base" -c . | podman import -q - localhost/thsm-test-base:latest >/dev/null
fi
# In place of the registries' images: the host's Node.js and nats-server, where those have them.
install -D "$(node -p process.execPath)" "$work/binaries/usr/local/bin/node"
install -D "$(PATH="$PWD/.tools/bin:$PATH:/usr/sbin" command -v nats-server)" "$work/binaries/nats-server"
tar -C "$work/binaries" -c . | podman import -q - localhost/thsm-test-binaries:latest >/dev/null

say "images of compose/Containerfile"
THSM_BUILDER="buildah bud --isolation chroot --layers" THSM_IMAGE_PREFIX=localhost/thsm-test- \
  logged compose/build \
  --build-arg BASE_IMAGE=localhost/thsm-test-base \
  --build-arg NODE_IMAGE=localhost/thsm-test-binaries \
  --build-arg NATS_IMAGE=localhost/thsm-test-binaries

say "thsm init"
synced=
# Debian 12's own server does not know how to sync always.
"$work/binaries/nats-server" --version | grep -q 'v2\.9\.' && synced=--no-sync-always
logged node dist/src/cli/main.js init --dir "$deployment" --compose --zone "$zone" $synced
examples/zone.sh "$zone" 30 >"$deployment/knot/$zone.zone"
# A small key saves a minute of looking for primes.
sed -i 's/zsk-size: 2048/zsk-size: 1024/' "$deployment/knot/knot.conf"

say "all containers of compose/compose.yaml"
port=$(node -e 'const s = net.createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
export THSM_IMAGE_PREFIX=localhost/thsm-test- THSM_DEPLOYMENT=$deployment THSM_DNS_ADDRESS=127.0.0.1:$port
logged podman-compose --project-name "$project" --file compose/compose.yaml up --detach
wait_log 120 provision 1 '^consumers of n1, n2, n3, n4, n5$'
for node in n1 n2 n3 n4 n5; do wait_log 60 "$node" 1 '"msg":"serving"'; done

say "Knot makes its keys and signs"
wait_log 400 knot 1 'DNSSEC, successfully signed'
validate
say "$signatures signatures, valid for kzonecheck and dnssec-verify"
for service in nats pkcs11d knot; do logged podman healthcheck run "$(container "$service")"; done
bus=$(podman inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(container nats)")
reaches_bus() { podman exec "$(container "$1")" timeout 3 bash -c "exec 3<>/dev/tcp/$bus/4222" 2>/dev/null; }
reaches_bus n1 || fail "n1 does not reach the bus"
! reaches_bus knot || fail "the name server reaches the bus"

say "n2 and n4 are killed; Knot signs again"
logged podman kill "$(container n2)" "$(container n4)"
cp "$work/signatures" "$work/before"
logged podman exec "$(container knot)" knotc -c /etc/knot/knot.conf -b -t 120 zone-sign "$zone"
for node in n2 n4; do
  [ "$(podman inspect --format '{{.State.Running}}' "$(container "$node")")" = false ] || fail "$node runs"
done
validate
kept=$(comm -12 "$work/before" "$work/signatures" | wc -l)
[ "$kept" = 0 ] || fail "$kept signatures are still the old ones"
say "$signatures new signatures, valid"

say "n2 and n4 come back"
logged podman start "$(container n2)" "$(container n4)"
for node in n2 n4; do wait_log 60 "$node" 2 '"msg":"serving"'; done

say "the auditor reads the history"
podman run --rm --name thsm-test-auditor --network "${project}_bus" \
  --user 10001:10001 --read-only --cap-drop all --security-opt no-new-privileges \
  -v "$deployment/auditor:/etc/thsm:ro" \
  localhost/thsm-test-thsm:latest thsm audit verify --auditor /etc/thsm/auditor.toml >"$work/audit" 2>&1 9>&- || {
  cat "$work/audit" >&2
  fail "the audit found something"
}
tail -n 12 "$work/audit"
say "passed"
