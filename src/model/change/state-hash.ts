import { type Change, type PoolProperties, propertiesOf } from './change.js';
import type { SiteOptions } from '../options/options.js';
import type { ServerSpec } from '../server.js';
import type { State } from '../state.js';
import { TextSum } from './text-sum.js';

/**
 * A hash of a state: the sum of a 64-bit hash of each value in it. So a change updates it in the time of the change, and
 * the order of pools and domains does not count. It finds a state that another program edited. It is no protection against
 * somebody who wants the hashes of two states to be equal.
 */
export class StateHash {
  static readonly empty = new StateHash(new TextSum());

  private constructor(private readonly sum: TextSum) {}

  /** Reads the whole state: about 0.1 s for 100,000 domains. */
  static of(state: State): StateHash {
    const sum = new TextSum();
    for (const [name, pool] of state.pools) {
      sum.add(1, propertiesText(name, propertiesOf(pool)));
      for (const domain of pool.domains) sum.add(1, domainText(domain, name));
      for (const [slot, server] of pool.servers) sum.add(1, serverText(name, slot, server));
    }
    for (const [host, site] of state.sites) sum.add(1, siteText(host, site));
    return new StateHash(sum);
  }

  /** The hash after a change. */
  after({ pools, domains, servers, sites }: Change): StateHash {
    const sum = this.sum.copy();
    for (const [name, before, after] of pools)
      sum.replace(propertiesText(name, before), propertiesText(name, after));
    for (const [domain, before, after] of domains)
      sum.replace(domainText(domain, before), domainText(domain, after));
    for (const [pool, slot, before, after] of servers)
      sum.replace(serverText(pool, slot, before), serverText(pool, slot, after));
    for (const [host, before, after] of sites) sum.replace(siteText(host, before), siteText(host, after));
    return new StateHash(sum);
  }

  toString(): string {
    return this.sum.toString();
  }
}

/** Undefined for a pool without properties, which its domains imply. */
function propertiesText(pool: string, properties: PoolProperties | null): string | undefined {
  return properties && Object.keys(properties).length > 0
    ? `pool ${pool} ${canonical(properties)}`
    : undefined;
}

function domainText(domain: string, pool: string | null): string | undefined {
  return pool === null ? undefined : `domain ${domain} ${pool}`;
}

function serverText(pool: string, slot: number, server: ServerSpec | null): string | undefined {
  if (!server) return undefined;
  return `server ${pool} ${slot} ${server.ip} ${server.http_port} ${server.weight} ${server.state}`;
}

function siteText(host: string, site: SiteOptions | null): string | undefined {
  return site ? `site ${host} ${canonical(site)}` : undefined;
}

/** JSON with the keys in order, because a file and a request can have them in another order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).toSorted(([key], [other]) => (key < other ? -1 : 1)))
      : one,
  );
}
