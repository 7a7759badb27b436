import { domainOfMapKey, mapKeyOf } from './domain-name.js';

/** The part of a state that the view reads. */
interface DomainSource {
  readonly domainCount: number;
  readonly pools: ReadonlyMap<string, { readonly domains: readonly string[] }>;
  poolOf(domain: string): string | undefined;
}

/**
 * The domains of a state as a map from key of `domains.map` to pool. It is a live view, because a copy of 100,000 domains
 * takes longer than the restore plan that reads it.
 */
export class DomainsByKey implements ReadonlyMap<string, string> {
  constructor(private readonly state: DomainSource) {}

  get size(): number {
    return this.state.domainCount;
  }

  get(key: string): string | undefined {
    // `*.example.com` is a domain but never a key.
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

  /** Allocates nothing for each entry, so it is the fastest iteration over 100,000 entries. */
  forEach(visit: (pool: string, key: string, map: ReadonlyMap<string, string>) => void): void {
    for (const [name, { domains }] of this.state.pools)
      for (const domain of domains) visit(name, mapKeyOf(domain), this);
  }
}
