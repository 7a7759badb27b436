import { domainOfMapKey, mapKeyOf } from './routing.js';

/** The part of a state that is looked at. */
interface Routes {
  readonly domainCount: number;
  readonly pools: ReadonlyMap<string, { readonly domains: readonly string[] }>;
  poolOf(domain: string): string | undefined;
}

/**
 * The domains of a state under the keys of `domains.map`. A window, not a copy, which at 100,000 domains would cost
 * more than planning a restore of them: it shows the state as it is when it is asked.
 */
export class DomainsByKey implements ReadonlyMap<string, string> {
  constructor(private readonly state: Routes) {}

  get size(): number {
    return this.state.domainCount;
  }

  get(key: string): string | undefined {
    // `*.example.com` is a domain and never a key.
    return key.startsWith('*') ? undefined : this.state.poolOf(domainOfMapKey(key));
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  *entries(): MapIterator<[string, string]> {
    for (const [name, { domains }] of this.state.pools)
      for (const domain of domains) yield [mapKeyOf(domain), name];
  }

  *keys(): MapIterator<string> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<string> {
    for (const [, pool] of this.entries()) yield pool;
  }

  [Symbol.iterator](): MapIterator<[string, string]> {
    return this.entries();
  }

  /** Without a pair for each: the way to go through 100,000. */
  forEach(visit: (pool: string, key: string, map: ReadonlyMap<string, string>) => void): void {
    for (const [name, { domains }] of this.state.pools)
      for (const domain of domains) visit(name, mapKeyOf(domain), this);
  }
}
