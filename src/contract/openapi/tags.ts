/** The tags of the OpenAPI document. A controller without `@ApiTags` has its own name as its tag. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  audit: 'Who changed what.',
  certificates: 'TLS certificates: issue, renew, load, delete.',
  configuration: 'The configuration of HAProxy, and the saved state.',
  domains: 'Domains, and the pool of each.',
  health: 'What works, what does not, and why.',
  monitoring: 'Statistics, connections and metrics.',
  operations: 'Long operations that answer 202.',
  servers: 'The servers of a domain.',
  tokens: 'Tokens of callers, with a role and an expiry.',
  transfer: 'Import and export of all domains and servers.',
};

/** One spelling: Nest makes `Domains` of DomainsController. */
export function tagName(tag: string): string {
  return tag.charAt(0).toLowerCase() + tag.slice(1);
}

export function describeTags(names: Iterable<string>): { name: string; description?: string }[] {
  return [...new Set(names)].toSorted().map((name) => {
    const description = DESCRIPTIONS[name];
    return { name, ...(description !== undefined && { description }) };
  });
}
