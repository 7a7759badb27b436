import { canonicalDomain } from './domain-name.js';
import { domainOfMapKey, mapKeyOf } from './routing.js';

/** The domain that a key of the map stands for; undefined for a key that the suite would never write. */
export function domainOfKey(key: string): string | undefined {
  const domain = domainOfMapKey(key);
  return canonicalDomain(domain) === domain && mapKeyOf(domain) === key ? domain : undefined;
}
