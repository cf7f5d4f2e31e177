#!/usr/bin/env bash
# Installs what the tests need on a Debian with Rust, and runs every check. Run as root, or as a user who may sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=(build-essential ca-certificates curl freeradius-utils procps python3-venv sqlite3 systemd tshark)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
if [ ! -x .test-tools/venv/bin/python ] || ! .test-tools/venv/bin/python -c 'import pyrad' 2>/dev/null; then
  /usr/bin/python3 -m venv .test-tools/venv
  .test-tools/venv/bin/pip install --quiet --disable-pip-version-check pyrad==2.6.0
fi
if ! cargo deny --version 2>/dev/null | grep -q '0\.20\.'; then
  cargo install --quiet --locked cargo-deny --version 0.20.2
fi
for component in rustfmt clippy; do
  cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done

cargo fmt --check
cargo deny --config .deny.toml --log-level error check bans licenses sources
cargo clippy --quiet --locked --all-targets -- -D warnings
cargo doc --quiet --locked --no-deps
cargo test --locked --doc
cargo test --locked --bench login
cargo test --locked --lib --bins
cargo test --locked --test it
