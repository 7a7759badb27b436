import { SITE_MAPS, type SiteMap, type SiteRecords } from '../../model/sites/site-maps.js';

/** The text of each map of the site options: a key and its value on each line, the sites by name. */
export function renderSiteMaps(records: SiteRecords): Record<SiteMap, string> {
  const lines = Object.fromEntries(SITE_MAPS.map((map) => [map, [] as string[]])) as Record<
    SiteMap,
    string[]
  >;
  for (const [, record] of [...records].toSorted(([one], [other]) => (one < other ? -1 : 1)))
    for (const { map, key, value } of record) lines[map].push(`${key} ${value}\n`);
  return Object.fromEntries(SITE_MAPS.map((map) => [map, lines[map].join('')])) as Record<SiteMap, string>;
}
