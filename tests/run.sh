#!/usr/bin/env bash
# Installs what the tests need on a Debian with Rust, and runs every check. Run as root, or as a user who may sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=(
  build-essential busybox ca-certificates chromium chromium-driver curl duktape faketime freeradius freeradius-postgresql freeradius-rest freeradius-utils
  groff hostapd iproute2 iptables nftables ocserv openconnect opennds openssl postgresql procps prometheus python3-venv radsecproxy shellcheck
  sqlite3 sslscan strace systemd tshark valgrind wget wpasupplicant
)
services=(freeradius hostapd nftables ocserv opennds postgresql prometheus radsecproxy wpa_supplicant)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  # The tests want these programs, not their services: one that was not here before neither starts now nor at the next boot.
  new=()
  for service in "${services[@]}"; do
    [ -e "/lib/systemd/system/$service.service" ] || new+=("$service")
  done
  policy=/usr/sbin/policy-rc.d
  unruled=false
  if [ ! -e "$policy" ]; then
    unruled=true
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
  if "$unruled"; then
    as_root rm -f "$policy"
    trap - EXIT
  fi
  for service in "${new[@]}"; do
    as_root systemctl disable --quiet "$service" 2>/dev/null || true
    if pgrep -x "$service" >/dev/null; then
      echo "$service was started by its installation; stop it and run again" >&2
      exit 1
    fi
  done
fi
if [ ! -x .test-tools/venv/bin/python ] || ! .test-tools/venv/bin/python -c 'import pyrad' 2>/dev/null; then
  /usr/bin/python3 -m venv .test-tools/venv
  .test-tools/venv/bin/pip install --quiet --disable-pip-version-check pyrad==2.6.0
fi
if ! .test-tools/venv/bin/pip show --quiet axe-playwright-python 2>/dev/null; then
  # For the axe-core in it alone.
  .test-tools/venv/bin/pip install --quiet --disable-pip-version-check --no-deps axe-playwright-python==0.1.8
fi
if [ ! -x .test-tools/venv/bin/schemathesis ]; then
  .test-tools/venv/bin/pip install --quiet --disable-pip-version-check schemathesis==4.32.5
fi
if ! cargo deny --version 2>/dev/null | grep -q '0\.20\.'; then
  cargo install --quiet --locked cargo-deny --version 0.20.2
fi
for component in rustfmt clippy; do
  cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done

cargo fmt --check
shellcheck docs/opennds/*.sh
cargo deny --config .deny.toml --log-level error check bans licenses sources
cargo clippy --quiet --locked --all-targets -- -D warnings
cargo doc --quiet --locked --no-deps
cargo test --locked --doc
cargo test --locked --bench login
cargo test --locked --bench counted
cargo test --locked --bench growth
cargo test --locked --bench hostile
cargo test --locked --bench soak
cargo test --locked --bench logins
cargo test --locked --bench mirror
cargo test --locked --bench accounting
cargo test --locked --bench cluster
cargo test --locked --bench portal
cargo test --locked --bench desk
cargo test --locked --lib --bins
skipped=()
if ! as_root unshare --net sh -c 'nft add table inet probe && iptables -n -L' >/dev/null 2>&1; then
  echo "NOT TRIED: openNDS, since this machine has no nftables in network namespaces"
  skipped=(--skip opennds::)
fi
if ! as_root unshare --net ip tuntap add dev probe mode tun >/dev/null 2>&1; then
  echo "NOT TRIED: ocserv, since this machine has no tun devices"
  skipped+=(--skip ocserv::)
fi
if ! as_root unshare --net sh -c 'ip link add one type veth peer name other && ip rule add blackhole from 192.0.2.1' >/dev/null 2>&1; then
  echo "NOT TRIED: a daemon that is cut off from the database, since this machine has no cables between network namespaces"
  skipped+=(--skip cluster::apart::)
fi
if ! as_root sh -c 'sleep 9 & timeout -s INT 1 strace -o /dev/null -p $! 2>&1 | grep -q attached'; then
  echo "NOT TRIED: system calls that fail, since this machine lets strace do nothing"
  skipped+=(--skip faults::beside:: --skip faults::journal:: --skip faults::sockets::)
fi
if ! as_root unshare --mount sh -c 'mount --bind /etc/hosts /etc/resolv.conf' >/dev/null 2>&1; then
  echo "NOT TRIED: a resolver that hangs, since this machine lets nobody mount anything"
  skipped+=(--skip faults::resolver::)
fi
# The same tests for the other store.
SPOTGATE_STORE=postgres cargo test --locked --test it -- accounting:: daemon:: decisions:: disconnect:: peers:: sessions::
# Network namespaces are made by root alone, and only root may put faults into other processes.
if [ "$(id -u)" = 0 ]; then
  cargo test --locked --test it -- "${skipped[@]}"
else
  cargo test --locked --test it -- --skip cluster::apart:: --skip faults:: --skip foreign:: --skip ocserv:: --skip opennds::
  cargo test --locked --test it --config "target.'cfg(all())'.runner = 'sudo'" -- cluster::apart:: faults:: foreign:: ocserv:: opennds:: "${skipped[@]}"
fi
bash tests/package.sh
