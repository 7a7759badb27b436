# root.sh SCRATCH ROOT PACKAGE…: installs Debian packages into ROOT. Run by root.mjs in a mount and PID namespace.
set -eu
scratch=$1 root=$2
shift 2
# In memory, because dpkg waits for the disk after each file: four minutes on a busy disk.
mount -t tmpfs tmpfs "$scratch"
debs=$scratch/var/cache/apt/archives
mkdir -p "$debs/partial"
# dpkg needs a shell and its own libraries before it can install them, so all packages are unpacked first.
for package; do
  dpkg-deb --fsys-tarfile "$package" | tar -xp --keep-directory-symlink -C "$scratch"
  cp "$package" "$debs"
done
: >"$scratch/var/lib/dpkg/status"
# invoke-rc.d(8) starts no service while this program exits with 101.
printf '#!/bin/sh\nexit 101\n' >"$scratch/usr/sbin/policy-rc.d"
chmod 755 "$scratch/usr/sbin/policy-rc.d"
mount -t proc proc "$scratch/proc"
# One call, so dpkg finds the order in which it configures the packages. --force-depends: the order in which it unpacks
# them does not matter, because everything is unpacked already.
chroot "$scratch" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C \
  sh -c 'dpkg --force-depends --force-unsafe-io --install /var/cache/apt/archives/*.deb && dpkg --audit'
umount "$scratch/proc"
rm "$scratch/usr/sbin/policy-rc.d" "$debs"/*.deb
cp -a "$scratch/." "$root"
