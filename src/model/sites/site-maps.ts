import { isWildcard, mapKeyOf, wildcardOf } from '../names/domain-name.js';
import type { SiteOptions } from '../options/options.js';
import { networkKeys } from './networks.js';
import {
  DEFAULT_REDIRECT_CODE,
  INHERITED_OPTIONS,
  type InheritedOption,
  type OwnedOption,
  knownOptions,
} from './site-options.js';
import { findOptionProblem } from './site-rules.js';

/**
 * The maps that the rules of suite.cfg look options up in. `sites` has one entry for each site with options, which names
 * them; the other maps have the details. Each key ends in the key of its site, after a `|` if there is more.
 */
export const SITE_MAPS = ['sites', 'redirects', 'https', 'allow', 'deny', 'except', 'pages'] as const;
export type SiteMap = (typeof SITE_MAPS)[number];

/** The fields of a value of `sites` after the first, which has the words: for each of these options the site that it is of. */
export const OWNER_FIELDS = { deny: 2, allow: 3, maintenance: 4 } as const satisfies Record<
  OwnedOption,
  number
>;

/** The field of a value of `sites` that has the number of requests of `rate_limit`. */
export const LIMIT_FIELD = 5;

export interface SiteEntry {
  map: SiteMap;
  key: string;
  value: string;
}

/** The entries of one site in all maps. Empty for a site without options. */
export type SiteRecord = readonly SiteEntry[];

/** Map key of a site → its entries. A site without options is absent. */
export type SiteRecords = ReadonlyMap<string, SiteRecord>;

/** Whether two records have the same entries, in any order. */
export function isSameRecord(one: SiteRecord, other: SiteRecord): boolean {
  if (one.length !== other.length) return false;
  const values = new Map(one.map(({ map, key, value }) => [`${map} ${key}`, value]));
  return other.every(({ map, key, value }) => values.get(`${map} ${key}`) === value);
}

/** The part of a state that the entries depend on. */
export interface SiteReader {
  poolOf(domain: string): string | undefined;
  site(host: string): SiteOptions | undefined;
}

/** As `SiteReader`, for all sites. */
interface AllSites extends SiteReader {
  readonly sites: ReadonlyMap<string, SiteOptions>;
  readonly pools: ReadonlyMap<string, { readonly domains: readonly string[] }>;
}

/** The part of a change that the entries depend on. */
interface SiteDelta {
  readonly domains: ReadonlyMap<string, string | undefined>;
  readonly sites?: ReadonlyMap<string, SiteOptions | undefined>;
}

/** The key of the site that an entry belongs to. */
export function siteOfKey(key: string): string {
  return key.slice(key.lastIndexOf('|') + 1);
}

/** Which site an option of a domain comes from: the domain itself, the wildcard that covers it, or none. */
export function ownerOf(reader: SiteReader, domain: string, option: InheritedOption): string | undefined {
  if (reader.site(domain)?.[option] !== undefined) return domain;
  const wildcard = wildcardOf(domain);
  if (wildcard === undefined || reader.poolOf(wildcard) === undefined) return undefined;
  return reader.site(wildcard)?.[option] === undefined ? undefined : wildcard;
}

/** The entries of a domain. Empty if there is no such domain. */
export function siteRecord(reader: SiteReader, domain: string): SiteRecord {
  if (reader.poolOf(domain) === undefined) return [];
  const key = mapKeyOf(domain);
  const site = reader.site(domain);
  const own = site ? ownEntries(key, site) : NO_ENTRIES;
  const words = [...own.words];
  const fields: string[] = [];
  for (const option of INHERITED_OPTIONS) {
    const owner = ownerOf(reader, domain, option);
    const options = owner === undefined ? undefined : reader.site(owner);
    const found = owner !== undefined && options ? inheritedWords(option, options) : [];
    words.push(...found);
    fields[fieldOf(option) - 2] =
      owner === undefined || found.length === 0 ? '' : fieldValue(option, owner, options);
  }
  if (words.length === 0) return [];
  const more = fields.some((field) => field !== '') ? `|${fields.join('|')}` : '';
  return [{ map: 'sites', key, value: `,${words.join(',')},${more}` }, ...own.entries];
}

function fieldOf(option: InheritedOption): number {
  return option === 'rate_limit' ? LIMIT_FIELD : OWNER_FIELDS[option];
}

function fieldValue(option: InheritedOption, owner: string, site: SiteOptions | undefined): string {
  return option === 'rate_limit' ? String(knownOptions(site).rate_limit?.requests ?? 0) : mapKeyOf(owner);
}

interface OwnEntries {
  words: readonly string[];
  entries: readonly SiteEntry[];
}

const NO_ENTRIES: OwnEntries = { words: [], entries: [] };

/** Sites are immutable, and a restore with 100,000 of them renders each. */
const rendered = new WeakMap<SiteOptions, { key: string; own: OwnEntries }>();

function ownEntries(key: string, site: SiteOptions): OwnEntries {
  const known = rendered.get(site);
  if (known?.key === key) return known.own;
  const own = renderOwn(key, site);
  rendered.set(site, { key, own });
  return own;
}

/** The details of the options, and the words of those that are not inherited. */
function renderOwn(key: string, site: SiteOptions): OwnEntries {
  const { redirect, https, hsts_max_age, noindex, ...others } = knownOptions(usable(site));
  const words: string[] = [];
  const entries: SiteEntry[] = [];
  if (redirect) {
    const code = redirect.code ?? DEFAULT_REDIRECT_CODE;
    words.push(`redirect-${code}`);
    // The code is in the key, so that a change of both takes effect with the one entry of `sites`.
    entries.push({ map: 'redirects', key: `${code}|${key}`, value: redirect.to.replace(/\/$/, '') });
  }
  if (https === 'redirect') words.push('https');
  if (hsts_max_age !== undefined) {
    words.push('hsts');
    entries.push({ map: 'https', key, value: String(hsts_max_age) });
  }
  if (noindex) words.push('noindex');
  for (const [map, list] of [
    ['allow', others.allow],
    ['deny', others.deny],
    ['except', others.maintenance?.except],
  ] as const)
    for (const start of new Set((list ?? []).flatMap((network) => networkKeys(network))))
      entries.push({ map, key: `${start}${key}`, value: '1' });
  if (others.maintenance?.page)
    entries.push({ map: 'pages', key, value: encodePage(others.maintenance.page) });
  return { words, entries };
}

/** The words of an option that an exact name can inherit. */
function inheritedWords(option: InheritedOption, site: SiteOptions): string[] {
  const { maintenance, rate_limit, ...others } = knownOptions(usable(site));
  if (option === 'rate_limit') return rate_limit ? [`rate-${rate_limit.window_seconds}`] : [];
  if (option !== 'maintenance') return others[option] ? [option] : [];
  if (!maintenance) return [];
  return [
    'maintenance',
    ...((maintenance.except?.length ?? 0) > 0 ? ['except'] : []),
    ...(maintenance.page ? ['page'] : []),
  ];
}

/**
 * The options without those that the rules do not take. No change and no file can set such an option; this keeps an error in
 * one site from the maps of all.
 */
function usable(site: SiteOptions): SiteOptions {
  return Object.fromEntries(
    Object.entries(site).filter(([option, value]) => findOptionProblem(option, value) === undefined),
  );
}

/**
 * The page as one word. HAProxy 3.0 writes control characters as %XX, and HTML reads a line end as a blank, so they
 * become blanks.
 */
function encodePage(page: string): string {
  return Buffer.from(page.replaceAll(/[\t\n\r]+/g, ' ')).toString('base64');
}

/** The entries of all domains. */
export function allSiteRecords(state: AllSites): SiteRecords {
  const records = new Map<string, SiteRecord>();
  for (const domain of domainsWithRecord(state)) {
    const record = siteRecord(state, domain);
    if (record.length > 0) records.set(mapKeyOf(domain), record);
  }
  return records;
}

function* domainsWithRecord(state: AllSites): Generator<string> {
  const wildcards = new Set<string>();
  for (const [domain, site] of state.sites) {
    yield domain;
    if (isWildcard(domain) && passesOn(site)) wildcards.add(domain);
  }
  if (wildcards.size > 0) yield* domainsUnder(state, wildcards);
}

function* domainsUnder(state: Pick<AllSites, 'pools'>, wildcards: ReadonlySet<string>): Generator<string> {
  for (const { domains } of state.pools.values())
    for (const domain of domains) if (wildcards.has(wildcardOf(domain) ?? '')) yield domain;
}

function passesOn(site: SiteOptions | undefined): boolean {
  return site !== undefined && INHERITED_OPTIONS.some((option) => site[option] !== undefined);
}

/** The entries that a delta changes or may change, as they are after it. A site without entries has an empty record. */
export function siteRecordsOf(delta: SiteDelta, before: AllSites): SiteRecords {
  const after = readerAfter(delta, before);
  const domains = new Set<string>(delta.sites?.keys());
  for (const domain of delta.domains.keys()) domains.add(domain);
  const wildcards = [...domains].filter(
    (domain) => isWildcard(domain) && (passesOn(before.site(domain)) || passesOn(after.site(domain))),
  );
  if (wildcards.length > 0)
    for (const domain of domainsUnder(before, new Set(wildcards))) domains.add(domain);
  return new Map([...domains].map((domain) => [mapKeyOf(domain), siteRecord(after, domain)]));
}

/** The state after a delta, as far as the options of sites depend on it. */
export function readerAfter(delta: SiteDelta, before: SiteReader): SiteReader {
  return {
    poolOf: (domain) => (delta.domains.has(domain) ? delta.domains.get(domain) : before.poolOf(domain)),
    site: (host) => (delta.sites?.has(host) ? delta.sites.get(host) : before.site(host)),
  };
}
