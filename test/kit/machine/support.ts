import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** What a machine needs: a namespace of each kind, and an overlay in memory. `boot.sh` does the same with more parts. */
const PROBE = `
set -e
ip link set lo up
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/usr,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
`;

let asked: { reason: string | undefined } | undefined;

/** The reason why this computer cannot boot a machine, in one line, or undefined if it can. */
export function whyNoMachine(): string | undefined {
  asked ??= { reason: findReason() };
  return asked.reason;
}

function findReason(): string | undefined {
  if (process.platform !== 'linux') return 'only Linux has the namespaces for it';
  if (process.getuid?.() !== 0) return 'only root may boot a Debian in a folder';
  for (const command of ['apt-get', 'dpkg-deb', 'unshare', 'nsenter', 'setpriv'])
    if (spawnSync(command, ['--version']).error) return `the command ${command} is not installed`;
  if (!existsSync('/sys/fs/cgroup')) return 'there are no control groups in /sys/fs/cgroup';
  const probe = spawnSync(
    'unshare',
    ['--mount', '--pid', '--fork', '--net', '--uts', '--ipc', 'sh', '-c', PROBE],
    { encoding: 'utf8' },
  );
  return probe.status === 0
    ? undefined
    : `namespaces and an overlay cannot be created: ${probe.stderr.trim().split('\n')[0]}`;
}
