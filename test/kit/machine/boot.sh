# Boots systemd from a copy of the folder $ROOT. Run by machine.ts in a mount and PID namespace of its own, so the mounts
# and all processes end with this process. Only memory is written: the changes go into a tmpfs over $ROOT.
set -eu
layers=$SCRATCH
mount -t tmpfs tmpfs "$layers"
mkdir "$layers/upper" "$layers/work" "$layers/root"
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$layers/upper,workdir=$layers/work" "$layers/root"
root=$layers/root
rm -f "$root"/etc/systemd/system/timers.target.wants/apt-daily*.timer
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$NAME" >"$root/etc/hosts"
# systemd needs a control group of its own, on old computers also in the hierarchy name=systemd.
for group in $CONTROL_GROUPS; do echo 0 >"$group/cgroup.procs"; done
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
# The filter: Podman and sandboxed units inside need these system calls.
exec "$NSPAWN" --quiet --register=no --keep-unit --private-network --system-call-filter='@keyring bpf' \
  --machine="$NAME" --console=read-only --directory="$root" --boot
