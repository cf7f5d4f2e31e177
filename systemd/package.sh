#!/usr/bin/env bash
# Makes what is given to others, in target/package:
#
#   systemd/package.sh [deb]            the Debian package of this machine's architecture
#   systemd/package.sh static [TARGET]  a binary that needs nothing beside it; TARGET is x86_64-unknown-linux-musl (else) or
#                                       aarch64-unknown-linux-musl
#   systemd/package.sh oci [TARGET]     the same binary as a container image: a tar of an OCI layout
#
#   --profile PROFILE    as of cargo build --profile (else release)
#   --deb-version X      the version of the package, in place of that in Cargo.toml
#
# It needs cargo-deb and cargo-auditable (cargo install), for the package dpkg-dev; for static binaries the Rust target
# (rustup target add TARGET) and ziglang (pip install), whose C compiler knows every target.
# tests/package.sh installs all of them. Nothing in them depends on the folder or the time.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=release what=deb target='' deb_version=''
while [ $# -gt 0 ]; do
  case "$1" in
    --profile) profile=$2; shift ;;
    --deb-version) deb_version=$2; shift ;;
    deb | static | oci) what=$1 ;;
    *-linux-*) target=$1 ;;
    *) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done

say() { printf '%s\n' "$*" >&2; }
need() { command -v "$1" >/dev/null || { say "$1 is missing: $2"; exit 1; }; }

need cargo-auditable "cargo install --locked cargo-auditable"
build=${CARGO_TARGET_DIR:-target}
mkdir -p "$build" target/package
build=$(cd "$build" && pwd)

# Whatever is made bears the time of the changelog, no path of this machine, and no trace of who made it.
SOURCE_DATE_EPOCH=$(date -u -d "$(sed -n 's/^ -- .*>  //p' systemd/debian/changelog | head -n 1)" +%s)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
places=("$PWD=/spotgate" "$build=/spotgate/target" "$cargo_home=/cargo")
RUSTFLAGS='' CFLAGS=''
for place in "${places[@]}"; do
  RUSTFLAGS+=" --remap-path-prefix=$place"
  CFLAGS+=" -ffile-prefix-map=$place"
done
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
# A dev build is for tests alone, which have most of it at hand as long as the compiler is told nothing new.
[ "$profile" = dev ] || export RUSTFLAGS CFLAGS CXXFLAGS=$CFLAGS
umask 022

# What is made from the binary: pages of the manual, completions. $1: the binary.
printed() {
  rm -rf target/package/completions
  mkdir -p target/package/completions
  local shell
  "$1" man | gzip -9n > target/package/spotgate.8.gz
  "$1" man spotgate.toml | gzip -9n > target/package/spotgate.toml.5.gz
  for shell in bash zsh fish; do
    "$1" completions "$shell" > "target/package/completions/spotgate.$shell"
  done
}

deb() {
  need cargo-deb "cargo install --locked cargo-deb"
  need dpkg-shlibdeps "apt install dpkg-dev"
  cargo auditable build --quiet --locked --profile "$profile"
  local folder=$profile
  [ "$profile" != dev ] || folder=debug
  printed "$build/$folder/spotgate"
  gzip -9n < systemd/debian/changelog > target/package/changelog.gz
  # What is compiled in, and how it is licensed.
  cargo tree --locked --edges normal --prefix none --format '{p} {l}' | sed 's/ ([^)]*)//g' | grep -v '^spotgate ' | sort -u |
    sed 's/ v\([0-9]\)/ \1/' > target/package/crates.txt
  local file strip=--no-strip
  [ "$profile" != dev ] || strip=--strip
  file=$(cargo deb --quiet --locked --no-build "$strip" --profile "$profile" ${deb_version:+--deb-version "$deb_version"} \
    --output target/package/)
  echo "$file"
}

static() {
  : "${target:=x86_64-unknown-linux-musl}"
  local python machine=${target%%-*} tool upper=${target^^} lower=${target//-/_} wrapper
  python=$(for python in .test-tools/venv/bin/python python3; do "$python" -c 'import ziglang' 2>/dev/null && command -v "$python" && break; done) ||
    { say "ziglang is missing: pip install ziglang"; exit 1; }
  test -d "$(rustc --print target-libdir --target "$target")" || { say "the Rust target is missing: rustup target add $target"; exit 1; }
  # C (SQLite, aws-lc) is compiled by Zig, which brings the headers of musl for each machine, and linked with the musl that comes with
  # Rust. The compiler is called with a target in words that Zig does not know.
  wrapper=$PWD/target/package/zig
  mkdir -p "$wrapper"
  for tool in cc ar; do
    local arguments=''
    [ "$tool" != cc ] || arguments=" -target $machine-linux-musl -fno-sanitize=undefined -fPIC"
    cat > "$wrapper/$tool-$machine" <<SH
#!/usr/bin/env bash
kept=()
for argument in "\$@"; do case "\$argument" in --target=*) ;; *) kept+=("\$argument") ;; esac; done
exec $(realpath -s "$(command -v "$python")") -m ziglang $tool$arguments "\${kept[@]}"
SH
    chmod 755 "$wrapper/$tool-$machine"
  done
  export "CC_$lower=$wrapper/cc-$machine" "AR_$lower=$wrapper/ar-$machine" "CARGO_TARGET_${upper//-/_}_LINKER=rust-lld"
  # What SQLite has for others: full-text search, and boxes in space.
  export LIBSQLITE3_FLAGS="-USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_FTS5 -USQLITE_ENABLE_RTREE"
  RUSTFLAGS+=" -Clink-self-contained=yes" cargo auditable build --quiet --locked --profile "$profile" --target "$target"
  cp "$build/$target/$profile/spotgate" "target/package/spotgate-$machine"
  echo "target/package/spotgate-$machine"
}

# A file of the image by its content. $1: the file; prints its digest.
blob() {
  local digest
  digest=$(sha256sum < "$1" | cut -d ' ' -f 1)
  mv "$1" "$image/blobs/sha256/$digest"
  echo "$digest"
}
size() { stat -c %s "$image/blobs/sha256/$1"; }
packed() { tar --create --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner "$@"; }

oci() {
  static >/dev/null
  local machine architecture variant='' root layer config manifest created file
  machine=${target%%-*}
  case "$machine" in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 variant=',"variant":"v8"' ;;
    *) say "no name for $machine"; exit 1 ;;
  esac
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  image=$scratch/image root=$scratch/root
  mkdir -p "$image/blobs/sha256" "$root"/etc/{spotgate,ssl/certs} "$root/var/lib/spotgate" "$root/tmp"
  chmod 1777 "$root/tmp"
  install -m 755 "target/package/spotgate-$machine" "$root/spotgate"
  # Those of Mozilla as Debian has them; none that somebody added to this machine.
  find /usr/share/ca-certificates/mozilla -name '*.crt' | sort | xargs cat > "$root/etc/ssl/certs/ca-certificates.crt"
  chmod 644 "$root/etc/ssl/certs/ca-certificates.crt"
  [ -s "$root/etc/ssl/certs/ca-certificates.crt" ] || { say "apt install ca-certificates"; exit 1; }
  # Not compressed, as `docker save` writes it: so that whatever reads those reads this.
  packed --file "$scratch/layer" -C "$root" etc spotgate tmp var
  layer=$(blob "$scratch/layer")
  created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
  cat > "$scratch/config" <<JSON
{"created":"$created","architecture":"$architecture"$variant,"os":"linux","config":{"Entrypoint":["/spotgate","serve","--config","/etc/spotgate/spotgate.toml"],"ExposedPorts":{"1812/udp":{},"1813/udp":{},"8080/tcp":{}},"Volumes":{"/var/lib/spotgate":{}},"StopSignal":"SIGTERM"},"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created":"$created","created_by":"systemd/package.sh oci"}]}
JSON
  config=$(blob "$scratch/config")
  cat > "$scratch/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(size "$config")},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:$layer","size":$(size "$layer")}]}
JSON
  manifest=$(blob "$scratch/manifest")
  echo '{"imageLayoutVersion":"1.0.0"}' > "$image/oci-layout"
  cat > "$image/index.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest","size":$(size "$manifest"),"platform":{"architecture":"$architecture"$variant,"os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"latest"}}]}
JSON
  # The same once more in the words of `docker save`, for readers that know only those.
  cat > "$image/manifest.json" <<JSON
[{"Config":"blobs/sha256/$config","RepoTags":["spotgate:latest"],"Layers":["blobs/sha256/$layer"]}]
JSON
  file=target/package/spotgate-$machine.tar
  packed --file "$file" -C "$image" blobs index.json manifest.json oci-layout
  echo "$file"
}

"$what"
