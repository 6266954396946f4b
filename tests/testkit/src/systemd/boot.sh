#!/usr/bin/env bash
# A systemd as the first process of name spaces of its own. Its root is this machine's with everything it writes in memory; the network is
# this machine's. To be run as the first process of new mount, pid, host name and IPC name spaces.
#
#   boot DIR PROGRAM PATH    PROGRAM is found at PATH inside; DIR/files is copied over the root
#   boot --gone DIR          after its end: removes its control groups
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

gone=
if [ "$1" = --gone ]; then gone=1; shift; fi
dir=$1
mount --make-rprivate /
mkdir -p "$dir/groups" "$dir/root" "$dir/memory"
mount -t cgroup2 cgroup2 "$dir/groups"
group=$dir/groups/$(basename "$dir")
if [ -n "$gone" ]; then
  find "$group" -depth -type d -exec rmdir {} +
  exit
fi

mount -t tmpfs -o mode=755 tmpfs "$dir/memory"
mkdir "$dir/memory/upper" "$dir/memory/work"
root=$dir/root
mount -t overlay -o "lowerdir=/,upperdir=$dir/memory/upper,workdir=$dir/memory/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
for device in null zero full random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"

# Nothing but a journal: what else this machine starts is no concern of a test, nor is what it would change of the kernel.
units=/etc/systemd/system
rm -rf "$root$units" "$root"/{usr/lib,run}/systemd/system/*.wants
mkdir -p "$root$units/sysinit.target.wants"
ln -s /lib/systemd/system/systemd-journald.service "$root$units/sysinit.target.wants/"
printf '[Unit]\nDescription=A journal\n' >"$root$units/sysinit.target"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nForwardToConsole=no\n' >"$root/etc/systemd/journald.conf.d/test.conf"
cp -R "$dir/files/." "$root/"
touch "$root$3"
mount --bind "$2" "$root$3"

mkdir "$group"
echo $$ >"$group/cgroup.procs"
cd "$root"
# In a name space of its own that group is the root of all.
exec unshare --cgroup bash -euc '
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  exec chroot . env -i container=test PATH="$PATH" /lib/systemd/systemd --system --unit=basic.target --show-status=no
'
