import { networkInterfaces } from 'node:os';
import { readTokensFile, takeOwnership, TokensFileError } from '../../access/tokens-file.js';
import { quote } from '../../lib/shell-quote.js';
import { defaultRouteInterfaces } from '../../lib/machine/route.js';
import { contains, formatHostPort, networks } from '../../model/addresses/ip-address.js';
import {
  type InterfaceAddresses,
  isTailnetInterface,
  TAILNET_IPV4,
  tailnetAddresses,
} from '../../model/addresses/tailnet.js';
import type { Settings } from '../../settings/settings.js';
import { presenceOf } from '../facts/users.js';
import { error, type Finding, NotRun, note, warning } from '../finding.js';
import type { Host } from '../host.js';
import type { Mending } from '../mending.js';
import type { HostCheck } from './check-type.js';

const LIMIT_MS = 2_000;

export const ACCESS_CHECKS: readonly HostCheck[] = [
  {
    subject: 'network',
    name: 'who reaches the suite, and who needs no token',
    run: async (host) => {
      const interfaces = networkInterfaces();
      return accessFindings(host.settings, host.mending, {
        interfaces,
        wayToInternet: await defaultRouteInterfaces(),
        isListening: await listeningOn(host, tailnetAddresses(interfaces)),
      });
    },
  },
  { subject: 'permissions', name: 'the tokens in TOKENS_FILE are valid', run: namedTokens },
];

async function namedTokens(host: Host): Promise<Finding[] | undefined> {
  const { settings, mending } = host;
  const { tokens: path } = settings.files;
  if ((await presenceOf(path)) === 'missing') return undefined;
  const { uid } = await host.suiteUser();
  try {
    return readTokensFile(path, uid).unusable.map(({ name, reason }) =>
      warning(`The token ${name} in ${path} is not valid: ${reason}.`, mending.edit(path, null)),
    );
  } catch (failure) {
    if (!(failure instanceof TokensFileError)) throw failure;
    if (failure.kind === 'access') throw new NotRun(`This user may not read ${path}.`, true);
    const problem = `At the next start of the suite, none of the tokens in ${path} is valid. ${failure.message}`;
    if (failure.kind === 'mode') return [error(problem, `chmod 600 ${quote(path)}`)];
    if (failure.kind === 'owner') return [error(problem, takeOwnership(path, uid))];
    return [error(problem, mending.edit(path, failure.line))];
  }
}

/** On which of the addresses the suite answers; undefined if it does not answer at all. */
async function listeningOn(host: Host, addresses: readonly string[]): Promise<AccessFacts['isListening']> {
  const { alive } = await host.suite();
  if (alive !== 'yes') return undefined;
  const answers = await Promise.all(
    addresses.map(async (address): Promise<[string, boolean]> => {
      const url = `http://${formatHostPort(address, host.settings.api.port)}/healthz`;
      const answer = await fetch(url, { signal: AbortSignal.timeout(LIMIT_MS) }).catch(() => undefined);
      await answer?.body?.cancel();
      return [address, answer?.ok === true];
    }),
  );
  return new Map(answers);
}

interface AccessFacts {
  interfaces: InterfaceAddresses;
  /** The interfaces that lead to the internet. */
  wayToInternet: ReadonlySet<string>;
  /** For each Tailscale address, whether the suite answers there; undefined if the suite does not answer at all. */
  isListening: ReadonlyMap<string, boolean> | undefined;
}

type AccessSettings = Pick<Settings, 'api' | 'trustedNetworks' | 'trustsByDefault'>;

/** Pure. */
export function accessFindings(
  settings: AccessSettings,
  mending: Pick<Mending, 'set' | 'restartSuite'>,
  { interfaces, wayToInternet, isListening }: AccessFacts,
): Finding[] {
  const { host, port, tailnet } = settings.api;
  const useTailnet = `${mending.set('MCP_HOST', 'tailnet')} && ${mending.restartSuite({ MCP_HOST: 'tailnet' })}`;
  const findings = carrierFindings(settings, { interfaces, wayToInternet });
  const silent = [...(isListening ?? [])].filter(([, answers]) => !answers).map(([address]) => address);
  const names = silent.map((address) => formatHostPort(address, port)).join(', ');
  if (silent.length > 0 && tailnet)
    findings.push(
      warning(
        `The suite does not answer on its Tailscale address ${names}: another program has the port, or the suite runs with another MCP_HOST.`,
        mending.restartSuite(),
      ),
    );
  else if (silent.length > 0 && isLoopback(host))
    findings.push(
      note(
        `MCP_HOST=${host} lets only this machine reach the suite. The tailnet cannot reach ${names}.`,
        useTailnet,
      ),
    );
  if (!tailnet && !isLoopback(host) && !tailnetAddresses(interfaces).includes(host))
    findings.push(
      note(
        `MCP_HOST=${host} lets other machines reach port ${port}. They need a token, which crosses their network without encryption.`,
        useTailnet,
      ),
    );
  return findings;
}

/** Addresses in a trusted network that a carrier or a cloud has given. */
function carrierFindings(
  { api, trustedNetworks, trustsByDefault }: AccessSettings,
  { interfaces, wayToInternet }: Pick<AccessFacts, 'interfaces' | 'wayToInternet'>,
): Finding[] {
  // Without a setting, the suite does not trust such an address.
  if (trustsByDefault || api.tailnet || isLoopback(api.host)) return [];
  const trusted = networks(trustedNetworks);
  return Object.entries(interfaces).flatMap(([name, list = []]) => {
    if (!wayToInternet.has(name) || isTailnetInterface(name)) return [];
    const own = list.map(({ address }) => address).filter((address) => contains(SHARED, address));
    return own
      .filter((address) => contains(trusted, address))
      .map((address) =>
        warning(
          `TRUSTED_NETWORKS contains ${address} of ${name}, which a carrier or a cloud has given this machine: its other customers in that network need no token.`,
          '# Remove the network from TRUSTED_NETWORKS. With MCP_HOST=tailnet, only Tailscale reaches the suite.',
        ),
      );
  });
}

/** Shared address space (RFC 6598). */
const SHARED = networks([TAILNET_IPV4]);

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
