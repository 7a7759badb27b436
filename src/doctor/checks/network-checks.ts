import { existsSync } from 'node:fs';
import type { ConfigSection } from '../../haproxy/config/config-parser.js';
import { listenAddresses } from '../../haproxy/config/listen-address.js';
import { type HostUser, textOf } from '../facts/users.js';
import { error, type Finding, warning } from '../finding.js';
import type { HostCheck } from './check-type.js';

export const NETWORK_CHECKS: readonly HostCheck[] = [
  {
    subject: 'network',
    name: 'IPv6 binds have IPv6',
    run: async (host) => {
      const hasIpv6 = existsSync('/proc/net/if_inet6');
      return ipv6Findings(await host.sections(), hasIpv6, host.settings.files.config);
    },
  },
  {
    subject: 'network',
    name: 'HAProxy may open its ports',
    run: async (host) => {
      const user = await host.haproxyUser();
      const text = await textOf('/proc/sys/net/ipv4/ip_unprivileged_port_start');
      // A HAProxy that runs has opened its ports, perhaps before it gave up its rights.
      if (!user || text === undefined || (await host.info()).ok) return undefined;
      return lowPortFindings(await host.sections(), user, Number(text));
    },
  },
  {
    subject: 'network',
    name: 'the queue for new connections',
    run: async () => {
      const text = await textOf('/proc/sys/net/core/somaxconn');
      return text === undefined ? undefined : queueFindings(Number(text));
    },
  },
];

function bindsOf(sections: readonly ConfigSection[]) {
  return sections
    .filter(({ keyword }) => keyword === 'frontend' || keyword === 'listen')
    .flatMap(({ lines }) => lines)
    .filter(({ words }) => words[0] === 'bind' && !words.includes('namespace', 2))
    .flatMap(({ line, words }) => listenAddresses(words[1] ?? '').map((address) => ({ line, address })));
}

/** Pure. */
export function ipv6Findings(sections: readonly ConfigSection[], hasIpv6: boolean, file: string): Finding[] {
  if (hasIpv6) return [];
  const found = bindsOf(sections).filter(
    ({ address }) => address.kind === 'port' && address.host.includes(':'),
  );
  if (found.length === 0) return [];
  const lines = [...new Set(found.map(({ line }) => line))];
  return [
    error(
      `${file} has IPv6 binds (line ${lines.join(', ')}), and this machine has no IPv6, so HAProxy does not start.`,
      `sed -i '${lines.map((line) => `${line}s/^/#/`).join(';')}' ${file}`,
    ),
  ];
}

/** Pure. */
function lowPortFindings(sections: readonly ConfigSection[], user: HostUser, firstFree: number): Finding[] {
  if (user.bindsLowPorts) return [];
  const low = bindsOf(sections).flatMap(({ address }) =>
    address.kind === 'port' && address.first < firstFree ? [address.first] : [],
  );
  if (low.length === 0) return [];
  const lowest = Math.min(...low);
  const setting = `net.ipv4.ip_unprivileged_port_start=${lowest}`;
  return [
    error(
      `HAProxy runs as ${user.name}, which may not open port ${[...new Set(low)].join(' and ')}: ports below ${firstFree} are for root.`,
      `sysctl -w ${setting} && echo '${setting}' > /etc/sysctl.d/60-haproxy-suite.conf`,
    ),
  ];
}

const SMALL_QUEUE = 1024;
const QUEUE = 4096;

/** Pure. */
function queueFindings(somaxconn: number): Finding[] {
  if (somaxconn >= SMALL_QUEUE) return [];
  const setting = `net.core.somaxconn=${QUEUE}`;
  return [
    warning(
      `The kernel queues at most ${somaxconn} new connections of a port (net.core.somaxconn), so a burst of visitors is refused.`,
      `sysctl -w ${setting} && echo '${setting}' > /etc/sysctl.d/60-haproxy-suite-queue.conf`,
    ),
  ];
}
