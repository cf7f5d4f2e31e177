#!/usr/bin/env bash
# Tests what systemd/package.sh makes. Run as root, or as a user who may sudo.
#
#   tests/package.sh               the package and a static image, quickly built: what CI runs
#   tests/package.sh release       the same, built as they are shipped, for x86_64 and aarch64
#   tests/package.sh reproducible  builds the package and the image twice, in two folders, and compares
#
# A Debian is booted in namespaces, which takes root and control groups of version 2, mounted anywhere. Where they are not, or
# SPOTGATE_WITHOUT_BOOT=1 is set, that is not tried, and said.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-smoke}
here=$PWD

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
say() { printf 'package: %s\n' "$*"; }
fail() { printf 'package: FAILED: %s\n' "$*" >&2; exit 1; }

packages=(build-essential ca-certificates debootstrap dpkg-dev freeradius-utils git iproute2 lintian procps python3-venv skopeo)
[ "$what" != release ] || packages+=(qemu-user-static)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
for tool in cargo-deb:3.8.0 cargo-auditable:0.7.7 rust-audit-info:0.5.4; do
  command -v "${tool%:*}" >/dev/null || cargo install --quiet --locked "${tool%:*}" --version "${tool#*:}"
done
venv=$PWD/.test-tools/venv
[ -x "$venv/bin/python" ] || /usr/bin/python3 -m venv "$venv"
# A compiler for C that knows every target.
"$venv/bin/python" -c 'import ziglang' 2>/dev/null || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ziglang==0.13.0
wanted=(x86_64-unknown-linux-musl) targets=()
[ "$what" != release ] || wanted+=(aarch64-unknown-linux-musl)
for target in "${wanted[@]}"; do
  if test -d "$(rustc --print target-libdir --target "$target")" || timeout 300 rustup --quiet target add "$target"; then
    targets+=("$target")
  elif [ "$what" = smoke ]; then
    say "NOT TRIED: the static image for $target, whose Rust target cannot be fetched on this machine"
  else
    fail "rustup target add $target"
  fi
done

# The package of a smoke test is made of what `cargo test` has built, as far as it goes.
profile=dev static_profile=package-smoke
[ "$what" != reproducible ] || profile=package-smoke
[ "$what" != release ] || profile=release static_profile=release
options=(--profile "$profile")

reproducible() {
  local folder
  for folder in one another/deeper; do
    mkdir -p "$scratch/$folder"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$scratch/$folder"
    (
      cd "$scratch/$folder"
      unset CARGO_TARGET_DIR
      systemd/package.sh "${options[@]}" deb
      PATH=$venv/bin:$PATH systemd/package.sh --profile "$static_profile" oci
    ) >/dev/null
  done
  (cd "$scratch/one/target/package" && sha256sum ./*.deb ./*.tar) | tee "$scratch/sums"
  (cd "$scratch/another/deeper/target/package" && sha256sum --check "$scratch/sums") || fail "two builds differ"
  say "two builds in two folders are the same, byte for byte"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ "$what" = reproducible ]; then
  reproducible
  exit
fi

began=$SECONDS
build=${CARGO_TARGET_DIR:-target}
deb=$(systemd/package.sh "${options[@]}")
folder=$profile
[ "$profile" != dev ] || folder=debug
binary=$(realpath "$build/$folder/spotgate")
say "$deb, $(stat -c %s "$deb") bytes, after $((SECONDS - began)) s"
version=$(dpkg-deb --field "$deb" Version)
newer=$(systemd/package.sh "${options[@]}" --deb-version "$version+1")

lintian --fail-on error,warning --tag-display-limit 0 "$deb"
say "lintian finds nothing"
components=$(rust-audit-info "$binary" | grep -o '"name":' | wc -l)
[ "$components" -gt 100 ] || fail "the binary says of $components components only that they are in it"
say "the binary names $components components"

debian=$here/.test-tools/bookworm
as_root timeout 600 bash tests/package/debian.sh fresh "$debian"
as_root timeout 300 unshare --net --mount --pid --fork --kill-child --propagation private \
  bash tests/package/debian.sh by-hand "$debian" "$deb" "$newer"
why_not=''
findmnt --types cgroup2 >/dev/null || why_not="this machine has no control groups of version 2"
[ "${SPOTGATE_WITHOUT_BOOT:-}" != 1 ] || why_not="SPOTGATE_WITHOUT_BOOT says so"
if [ -n "$why_not" ]; then
  say "NOT TRIED, since $why_not: the unit under its systemd, and docs/first-guest.md"
else
  as_root timeout 300 bash tests/package/debian.sh booted "$debian" "$deb" "$newer" "$binary"
fi

# The image: told by skopeo, and its files run with nothing else beside them.
for target in "${targets[@]}"; do
  began=$SECONDS
  image=$(systemd/package.sh --profile "$static_profile" oci "$target")
  size=$(stat -c %s "$image")
  say "$image, $size bytes, after $((SECONDS - began)) s"
  [ "$static_profile" != release ] || [ "$size" -lt 20000000 ] || fail "the image is larger than 20 MB"
  skopeo inspect --override-arch "$([ "${target%%-*}" = x86_64 ] && echo amd64 || echo arm64)" "oci-archive:$image" >/dev/null
  skopeo inspect --config "docker-archive:$image" | grep -q '"/spotgate"' || fail "not as docker saves it"
  as_root timeout 120 bash tests/package/image.sh "$image" "${target%%-*}"
done
say "all is well"
