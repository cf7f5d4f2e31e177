#!/usr/bin/env bash
# The image $1 for machine $2, unpacked: its binary runs with nothing but the image's own files. As root.
set -euo pipefail
image=$(realpath "$1") machine=$2
fail() { printf 'package: FAILED: %s\n' "$*" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root
mkdir "$folder/layout" "$root"
tar -xf "$image" -C "$folder/layout"
# Whatever an index, a manifest and a configuration name is there, with the digest that is its name.
(cd "$folder/layout/blobs/sha256" && for blob in *; do echo "$blob  $blob"; done | sha256sum --check --quiet)
layer=$(grep -o '"Layers":\["[^"]*' "$folder/layout/manifest.json" | cut -d '"' -f 4)
tar -xf "$folder/layout/$layer" -C "$root"

run=()
if [ "$machine" != "$(uname -m)" ]; then
  cp "/usr/bin/qemu-$machine-static" "$root/qemu"
  run=(/qemu)
fi
cat > "$root/etc/spotgate/spotgate.toml" <<'T'
[source]
kind = "nexudus"
[source.nexudus]
base_url = "http://nexudus.test:8088"
username = "demo@example.org"
password = "demo"
time_zone = "Europe/Madrid"
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "correct horse battery"
hand_over = "router"
[[http.api_key]]
name = "operator"
key = "a-key-for-tests-only"
scopes = ["read"]
T
chmod 600 "$root/etc/spotgate/spotgate.toml"
within() { chroot "$root" "${run[@]}" /spotgate "$@"; }
within check || fail "check in the image"
[ -z "${run[*]}" ] || { within --version; exit 0; }
unshare --net bash -euc '
  ip link set lo up
  root=$1
  chroot "$root" /spotgate demo --once >"$root/demo" || { cat "$root/demo" >&2; exit 1; }
  tail -n 1 "$root/demo"
  # A name is resolved with resolv.conf alone.
  echo "nameserver 127.0.0.1" > "$root/etc/resolv.conf"
  python3 "$2" & names=$!
  chroot "$root" /spotgate sandbox --listen 127.0.0.1:8088 >/dev/null & sandbox=$!
  trap "kill $names $sandbox" EXIT
  sleep 1
  chroot "$root" /spotgate doctor > "$root/doctor" || true
  grep -q "^ok *sign in" "$root/doctor" || { cat "$root/doctor" >&2; exit 1; }' \
  image "$root" "$(dirname "$0")/names.py" || fail "the image does not do what it should"
echo "package: the image runs, and resolves names"
