import { LIMIT_FIELD, OWNER_FIELDS } from '../../model/sites/site-maps.js';
import type { SiteOptions } from '../../model/options/options.js';
import type { OwnedOption } from '../../model/sites/site-options.js';

/** The options of a site as a running HAProxy has them. */
export interface LiveSite {
  /** The words of its entry in the map `sites`, such as `deny` and `redirect-301`. */
  readonly words: ReadonlySet<string>;
  /** How many requests of one client its window allows; absent without a limit. */
  readonly limit?: { requests: number; seconds: number };
  /** The map key of the name that each of these options is of: the site, or the wildcard that covers it. */
  readonly owners: Readonly<Partial<Record<OwnedOption, string>>>;
}

/** The options whose networks contain the address of a visitor, and where a redirect leads to. */
export interface LiveSiteDetails {
  redirect?: { code: number; to: string };
  /** Absent if the address of the visitor is not known. */
  networks?: Readonly<Record<'deny' | 'allow' | 'except', boolean>>;
}

/** Parses a value of the map `sites`. Pure. */
export function parseSite(value: string): LiveSite {
  const [words = '', ...fields] = value.split('|');
  const owners = Object.entries(OWNER_FIELDS).map(([option, field]) => [option, fields[field - 2] ?? '']);
  const all = words.split(',').filter((word) => word !== '');
  const rate = all.find((word) => word.startsWith('rate-'));
  return {
    words: new Set(all),
    ...(rate !== undefined && {
      limit: { requests: Number(fields[LIMIT_FIELD - 2]), seconds: Number(rate.slice(5)) },
    }),
    owners: Object.fromEntries(owners.filter(([, owner]) => owner !== '')) as LiveSite['owners'],
  };
}

/** The options without those of `owner`, the wildcard that covers the site. `own` are the saved options of the site itself. */
export function withoutOwner<T extends LiveSite>(
  { limit, ...site }: T,
  owner: string,
  own: SiteOptions | undefined,
): T {
  const hidden = Object.entries(site.owners).flatMap(([option, key]) => (key === owner ? [option] : []));
  if (hidden.includes('maintenance')) hidden.push('except');
  const words = new Set([...site.words].filter((word) => !hidden.includes(word)));
  const isOwnLimit = limit !== undefined && own?.['rate_limit'] !== undefined;
  return { ...site, ...(isOwnLimit && { limit }), words } as unknown as T;
}
