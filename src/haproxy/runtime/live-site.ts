import { OWNER_FIELDS } from '../../model/sites/site-maps.js';
import type { InheritedOption } from '../../model/sites/site-options.js';

/** The options of a site as a running HAProxy has them. */
export interface LiveSite {
  /** The words of its entry in the map `sites`, such as `deny` and `redirect-301`. */
  readonly words: ReadonlySet<string>;
  /** The map key of the name that each of these options is of: the site, or the wildcard that covers it. */
  readonly owners: Readonly<Partial<Record<InheritedOption, string>>>;
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
  return {
    words: new Set(words.split(',').filter((word) => word !== '')),
    owners: Object.fromEntries(owners.filter(([, owner]) => owner !== '')) as LiveSite['owners'],
  };
}
