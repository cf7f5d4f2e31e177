#!/usr/bin/env bash
# Boots the Debian in folder $1 with its own systemd as process 1, in namespaces of its own: processes, mounts, network, host name.
# It ends with this script. As root.
set -euo pipefail
root=$(realpath "$1")
# A place of its own among the control groups, wherever this machine has version 2 of them.
groups=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)
group=$groups/spotgate-test-$$
mkdir "$group"
echo $$ > "$group/cgroup.procs"
exec unshare --mount --pid --ipc --uts --net --cgroup --fork --kill-child --propagation private bash -euc '
  mount --bind "$1" "$1"
  cd "$1"
  mount -t proc proc proc
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs -o mode=755 tmpfs dev
  for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
  done
  mkdir dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  pivot_root . mnt
  umount -l /mnt
  # As systemd finds it on a machine; in a container it relies on whoever made that.
  mount --make-rshared /
  exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init' boot "$root"
