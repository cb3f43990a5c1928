#!/usr/bin/env bash
# Tries the containers on a machine without an image registry: makes a base image with debootstrap,
# builds ours on it, and lets containers talk over TLS. Needs root on Debian; takes some minutes.
# Images and containers live in a storage of their own, which goes away at the end.
#   KEEP=1    leave that storage for the next run, which is then quick
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "test/containers/run.sh: needs root on Debian (it installs podman and makes a base image)" >&2
  exit 77
fi
if [ "${1:-}" != --bounded ]; then
  # In a process group of its own: the end of time, or a signal to us, reaches all that runs, and
  # the trap below cleans up.
  timeout --kill-after=60 900 bash "$0" --bounded &
  bounded=$!
  trap 'kill "$bounded"' INT TERM
  wait "$bounded" || wait "$bounded"
  exit
fi

say() { echo "containers: $*"; }

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
storage=/var/tmp/thsm-test-containers
project=thsm-test-compose
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
    podman network rm "${project}_bus"
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
  "$@" >"$work/log" 2>&1 || {
    tail -n 30 "$work/log" >&2
    say "this failed: $*" >&2
    exit 1
  }
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

node dist/test/containers/deployment.js "$work/deployment" nats n1
chown -R 10001:10001 "$work/deployment"
chmod 755 "$work"

say "nats of compose/compose.yaml"
THSM_IMAGE_PREFIX=localhost/thsm-test- THSM_DEPLOYMENT="$work/deployment" \
  logged podman-compose --project-name "$project" \
  --file compose/compose.yaml up --detach nats
for _ in {1..50}; do
  podman logs "${project}_nats_1" 2>&1 | grep -q "Server is ready" && break
  sleep 0.2
done

# A member's container, restricted as those of compose.yaml.
probe() {
  podman run --rm --name "thsm-test-$1" --network "${project}_bus" \
    --user 10001:10001 --read-only --cap-drop all --security-opt no-new-privileges \
    -v "$work/deployment/$1:/etc/thsm:ro" \
    -v "$PWD/dist/test/containers/probe.js:/opt/thsm/probe.js:ro" \
    localhost/thsm-test-thsm:latest node /opt/thsm/probe.js tls://nats:4222 "$1"
}
probe provisioner
probe n1

say "knot with the module"
logged podman run --rm --name thsm-test-knot --network none --read-only --cap-drop all \
  localhost/thsm-test-knot:latest sh -c 'knotd --version && ldd /usr/local/lib/libthsm-pkcs11.so'
say "passed"
