import { messageOf } from '../../errors/app-error.js';
import type { HaproxyInfo } from '../../haproxy/parsers/info.parser.js';
import { parseVersion } from '../../haproxy/parsers/version.parser.js';
import { requireVersion } from '../../haproxy/process/haproxy-binary.js';
import type { ConfigSection } from '../../haproxy/config/config-parser.js';
import { httpsBinds } from '../../haproxy/config/https-binds.js';
import { error, type Finding, note, warning } from '../finding.js';
import type { Mending } from '../mending.js';
import type { HostCheck } from './check-type.js';

const INSTALL = 'apt-get install haproxy';
/** Where the package of Debian and Ubuntu has the program. */
const PACKAGED = '/usr/sbin/haproxy';

export const HAPROXY_CHECKS: readonly HostCheck[] = [
  {
    subject: 'haproxy',
    name: 'the HAProxy binary and its version',
    run: async (host) => {
      const { settings } = host;
      if (await host.isInContainer()) return undefined;
      await host.requireTrusted(settings.haproxyBin);
      try {
        await requireVersion(settings.haproxyBin);
        return [];
      } catch (failure) {
        return [error(messageOf(failure), installHaproxy(settings.haproxyBin, host.mending))];
      }
    },
  },
  {
    subject: 'haproxy',
    name: 'the features and the support of the binary',
    run: async (host) => {
      if (await host.isInContainer()) return undefined;
      const output = await host.build();
      return buildFindings(output, await host.sections(), new Date());
    },
  },
  {
    subject: 'haproxy',
    name: 'the running HAProxy is the installed one',
    run: async (host) => {
      const info = await host.info();
      if (!info.ok || (await host.isInContainer())) return undefined;
      const output = await host.build();
      return runningVersionFindings(output, info.value, await host.masterPid(), host.mending);
    },
  },
  {
    subject: 'haproxy',
    name: 'the file limit and the connections',
    run: async (host) => {
      const info = await host.info();
      if (!info.ok) return undefined;
      const unit = unitWithLimit(host);
      return limitFindings(info.value, { pid: await host.masterPid(), unit, mending: host.mending });
    },
  },
];

/** Another program than that of the package stays in use until HAPROXY_BIN names the one of the package. */
function installHaproxy(binary: string, mending: Mending): string {
  if (!binary.includes('/') || binary === PACKAGED) return INSTALL;
  return [
    INSTALL,
    mending.set('HAPROXY_BIN', PACKAGED),
    mending.restartSuite({ HAPROXY_BIN: PACKAGED }),
  ].join('\n');
}

function unitWithLimit({ units, settings }: Parameters<HostCheck['run']>[0]): string | undefined {
  const unit = settings.control === 'managed' ? units?.suite : units?.haproxy;
  return unit?.isLoaded === true ? unit.name : undefined;
}

/** Pure. `output` is that of `haproxy -vv`. */
export function buildFindings(output: string, sections: readonly ConfigSection[], now: Date): Finding[] {
  const findings: Finding[] = [];
  const version = /version (\S+)/.exec(output)?.[1] ?? 'of an unknown version';
  const [, quarter, year] = /will stop receiving fixes around Q(\d) (\d{4})/.exec(output) ?? [];
  // A quarter ends with its third month.
  if (year !== undefined && now.getTime() >= Date.UTC(Number(year), Number(quarter) * 3))
    findings.push(
      warning(`HAProxy ${version} gets no fixes since Q${quarter} ${year}, as it says itself.`, INSTALL),
    );
  if (/^Status: (?:development|end of life)/im.test(output))
    findings.push(
      warning(`HAProxy ${version} is not for production: ${/^Status: (.*)$/m.exec(output)?.[1]}`, INSTALL),
    );
  const lacks = (feature: string) => /^Feature list/m.test(output) && !output.includes(`+${feature} `);
  const binds = httpsBinds(sections);
  if (binds.length > 0 && lacks('OPENSSL'))
    findings.push(error(`HAProxy ${version} has no TLS, and haproxy.cfg has binds with "ssl".`, INSTALL));
  if (lacks('QUIC')) {
    const isUsed = binds.some(({ quic }) => quic);
    const problem = `HAProxy ${version} is built without QUIC, so it serves no HTTP/3`;
    findings.push(
      isUsed ? error(`${problem}, and haproxy.cfg has a QUIC bind.`, INSTALL) : note(`${problem}.`, INSTALL),
    );
  }
  return findings;
}

/** A reload makes the master run its binary again. Pure. */
function runningVersionFindings(
  output: string,
  { version }: Pick<HaproxyInfo, 'version'>,
  masterPid: number | undefined,
  mending: Mending,
): Finding[] {
  const installed = parseVersion(output.split('\n', 1)[0] ?? '').text;
  if (installed === version) return [];
  return [
    warning(
      `HAProxy ${version} runs, and the binary is ${installed}: fixes of the new version are not in use.`,
      mending.reloadHaproxy(masterPid),
    ),
  ];
}

/** HAProxy derives maxconn from the file limit, if haproxy.cfg has none. */
const FEW_CONNECTIONS = 1_000;
const FILE_LIMIT = 1_048_576;

/** Pure. */
function limitFindings(
  { maxConnections, fields }: Pick<HaproxyInfo, 'maxConnections' | 'fields'>,
  { pid, unit, mending }: { pid: number | undefined; unit: string | undefined; mending: Mending },
): Finding[] {
  const files = Number(fields.get('Ulimit-n') ?? Number.NaN);
  const needed = Number(fields.get('Maxsock') ?? Number.NaN);
  const fix =
    unit === undefined
      ? `prlimit --pid ${pid} --nofile=${FILE_LIMIT}:${FILE_LIMIT} && kill -USR2 ${pid}`
      : `${mending.dropIn(unit, `LimitNOFILE=${FILE_LIMIT}`)} && ${mending.restartHaproxy()}`;
  if (files < needed)
    return [
      error(
        `HAProxy may open ${files} files and needs ${needed} for maxconn ${maxConnections}, so it refuses connections under load.`,
        fix,
      ),
    ];
  if (maxConnections < FEW_CONNECTIONS)
    return [
      warning(
        `HAProxy accepts at most ${maxConnections} connections at once, with a file limit of ${files}.`,
        fix,
      ),
    ];
  return [];
}
