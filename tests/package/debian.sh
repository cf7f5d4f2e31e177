#!/usr/bin/env bash
# The package in a fresh Debian 12: installed by apt, started, asked, upgraded, purged. As root.
#
#   debian.sh fresh FOLDER                      makes that Debian, once
#   debian.sh by-hand FOLDER DEB NEWER          without systemd: the daemon is started as the unit would
#   debian.sh booted FOLDER DEB NEWER BINARY    with its own systemd; docs/first-guest.md is followed
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

say() { printf 'package: %s\n' "$*"; }
fail() { printf 'package: FAILED: %s\n' "$*" >&2; exit 1; }

fresh() {
  [ ! -e "$1/.made" ] || return 0
  rm -rf "$1"
  say "a fresh Debian 12 is made in $1"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2 bookworm "$1" >"$1.log" 2>&1 ||
    { tail -n 20 "$1.log" >&2; fail debootstrap; }
  # What the package depends on is fetched now and installed by the test.
  chroot "$1" sh -euc '
    apt-get update -qq
    apt-get install -qq --download-only -y ca-certificates >/dev/null
    printf "APT::Get::Assume-Yes \"true\";\nDPkg::Options:: \"--force-confold\";\n" > /etc/apt/apt.conf.d/90test'
  touch "$1/.made"
}

# A copy of the Debian of its own, with the packages in root's home. $1: the original, then the packages.
copy() {
  root=$(mktemp -d)/debian
  cp -a --reflink=auto "$1" "$root"
  shift
  cp "$@" "$root/root/"
}
drop() {
  umount --recursive "$root" 2>/dev/null || true
  rm -rf --one-file-system "$(dirname "$root")"
}

nothing_is_left() {
  local left
  left=$(find "$root" -xdev -path "$root/proc" -prune -o -path "$root/root" -prune -o -name '*spotgate*' -print)
  [ -z "$left" ] || fail "left behind after the purge: $left"
  if grep -qs spotgate "$root"/var/lib/dpkg/status "$root"/etc/passwd "$root"/etc/group; then fail "dpkg or passwd still knows it"; fi
}

by_hand() {
  local newer secret credentials daemon
  newer=$(basename "$3")
  copy "$1" "$2" "$3"
  trap drop EXIT
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  ip link set lo up
  within() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }

  within sh -c "cd /root && apt install -qq ./$(basename "$2")" >"$root.log" 2>&1 || { cat "$root.log" >&2; fail "apt install"; }
  [ "$(stat -c '%a %U' "$root/etc/spotgate/secrets")" = "700 root" ] || fail "the folder of the secrets is open"
  [ "$(stat -c '%a %U %s' "$root/etc/spotgate/secrets/this-machine")" = "600 root 32" ] || fail "the secret is not root's, or none"
  secret=$(cat "$root/etc/spotgate/secrets/this-machine")
  say "installed: $(within spotgate --version)"

  # As the unit would start it: a user of its own, the secrets as credentials, a state directory.
  credentials=/run/credentials
  install -d -m 700 -o 61234 -g 61234 "$root$credentials" "$root/var/lib/private/spotgate"
  install -m 400 -o 61234 -g 61234 "$root/etc/spotgate/secrets/this-machine" "$root$credentials/secrets_this-machine"
  ln -s private/spotgate "$root/var/lib/spotgate"
  chmod 755 "$root/var/lib/private"
  local unit=(
    chroot "$root" env -i PATH=/usr/bin:/bin CREDENTIALS_DIRECTORY="$credentials" STATE_DIRECTORY=/var/lib/spotgate
    setpriv --reuid=61234 --regid=61234 --clear-groups --no-new-privs --bounding-set=-all
  )
  "${unit[@]}" spotgate check || fail "check of the configuration of the package"
  local command
  command=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/spotgate.service")
  : > "$root/root/log"
  # shellcheck disable=SC2086 # systemd splits it too
  "${unit[@]}" $command 2>"$root/root/log" &
  daemon=$!
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    ! grep -q ready "$root/root/log" || break
    kill -0 "$daemon" 2>/dev/null || { cat "$root/root/log" >&2; fail "it does not start"; }
    sleep 0.1
  done
  say "started: $(grep -o 'ready.*' "$root/root/log")"
  ask() { printf 'User-Name=%s,User-Password=%s,Calling-Station-Id=3C:06:30:AA:19:5F\n' "$1" "$1" | radclient -r 3 -t 2 127.0.0.1:1812 auth "$secret" 2>&1 || true; }
  ask kx7q-91mp | grep -q 'Received Access-Reject' || fail "a code that nobody gave out"
  echo '[{"Id":1,"BusinessId":1,"AccessCode":"kx7q-91mp","MinutesIncluded":600,"ValidFrom":null,"ValidTo":null,"UserLimit":2}]' \
    > "$root/etc/spotgate/tokens.new"
  chmod 644 "$root/etc/spotgate/tokens.new"
  mv "$root/etc/spotgate/tokens.new" "$root/etc/spotgate/tokens.json"
  for ((tries = 0; tries < 50; tries++)); do
    ! ask kx7q-91mp | grep -q 'Received Access-Accept' || break
    sleep 0.2
  done
  ask kx7q-91mp | grep -q 'Received Access-Accept' || { cat "$root/root/log" >&2; fail "the first login"; }
  say "a guest is let in"

  echo '# by hand' >> "$root/etc/spotgate/spotgate.toml"
  within sh -c "cd /root && apt install -qq ./$newer" >"$root.log" 2>&1 || { cat "$root.log" >&2; fail "the upgrade"; }
  grep -q '# by hand' "$root/etc/spotgate/spotgate.toml" || fail "the upgrade took the configuration away"
  [ "$(cat "$root/etc/spotgate/secrets/this-machine")" = "$secret" ] || fail "the upgrade made another secret"
  kill -0 "$daemon" || fail "the upgrade ended the daemon"
  kill -TERM "$daemon"
  wait "$daemon" || fail "it does not stop cleanly"
  say "upgraded and stopped"

  within apt remove -qq spotgate >"$root.log" 2>&1 || { cat "$root.log" >&2; fail "the removal"; }
  [ -e "$root/etc/spotgate/secrets/this-machine" ] || fail "a removal without purge took the secrets"
  within apt purge -qq spotgate >"$root.log" 2>&1 || { cat "$root.log" >&2; fail "the purge"; }
  nothing_is_left
  say "purged, and nothing is left"
}

booted() {
  local newer=$3 init tries former now
  copy "$1" "$2"
  trap drop EXIT
  "$here/boot.sh" "$root" >"$root.log" 2>&1 </dev/null &
  boot=$!
  # It is a child of `unshare`, which takes no other signal.
  halt() {
    [ -n "$boot" ] || return 0
    kill -KILL "$boot" 2>/dev/null || true
    wait "$boot" 2>/dev/null || true
    local group wait
    group=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)/spotgate-test-$boot
    for ((wait = 0; wait < 50; wait++)); do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -d "$group" ] || break
      sleep 0.1
    done
    boot=''
  }
  trap 'halt; drop' EXIT
  init=''
  for ((tries = 0; tries < 50; tries++)); do
    init=$(pgrep -P "$boot" || true)
    [ -z "$init" ] || [ "$(cat "/proc/$init/comm")" != systemd ] || break
    sleep 0.2
  done
  [ -n "$init" ] || { cat "$root.log" >&2; fail "Debian does not boot"; }
  manager() { nsenter --target "$init" --mount --pid --net --ipc --uts --cgroup -- env -i HOME=/root DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
  for ((tries = 0; tries < 100; tries++)); do
    manager systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded' && break
    sleep 0.2
  done
  say "booted: $(manager systemctl --version | head -n 1)"

  python3 "$here/guide.py" "$init" "$root" "$4" || { manager journalctl --unit spotgate --no-pager >&2; fail "the guide"; }
  say "the guide leads to the first guest"

  # Under all that the unit forbids; what seccomp refuses would be in the log or end the daemon.
  manager systemctl show spotgate --property NRestarts | grep -qx NRestarts=0 || fail "it was restarted"
  former=$(manager systemctl show spotgate --property MainPID)
  cp "$newer" "$root/root/"
  manager sh -c "cd /root && apt install -qq ./$(basename "$newer")" >"$root.log" 2>&1 || { cat "$root.log" >&2; fail "the upgrade"; }
  now=$(manager systemctl show spotgate --property MainPID)
  manager systemctl is-active --quiet spotgate || fail "it does not run after the upgrade"
  [ "$former" != "$now" ] || fail "the upgrade did not restart it"
  say "upgraded and restarted"

  # As docs/runbook.md says: with the sockets, three restarts lose nothing that is asked meanwhile.
  local sockets=(spotgate-auth.socket spotgate-acct.socket spotgate-http.socket) steady
  manager sh -euc "systemctl stop spotgate; systemctl enable --now --quiet ${sockets[*]}; systemctl start spotgate" ||
    { manager journalctl --no-pager --lines 40 >&2; fail "the sockets cannot be enabled"; }
  nsenter --target "$init" --net python3 "$here/router.py" steady 192.168.88.2 192.168.88.1 "$(cat "$root/etc/spotgate/secrets/front-desk")" 6 &
  steady=$!
  for ((tries = 0; tries < 3; tries++)); do
    sleep 1.5
    manager systemctl restart spotgate || fail "it does not restart on the sockets"
  done
  wait "$steady" || fail "requests were lost, although systemd holds the sockets"
  nsenter --target "$init" --net python3 -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:8080/healthz", timeout=5)' ||
    fail "HTTP on a socket of systemd"
  say "three restarts on the sockets lose no request"

  # They go with the package.
  manager apt purge -qq spotgate >"$root.log" 2>&1 || { cat "$root.log" >&2; fail "the purge"; }
  ! manager systemctl is-active --quiet spotgate || fail "it runs after the purge"
  halt
  nothing_is_left
  say "purged, and nothing is left"
}

case "$1" in
  fresh) fresh "$2" ;;
  by-hand) shift; by_hand "$@" ;;
  booted) shift; booted "$@" ;;
esac
