import { figureOf, timed } from '../lib/figures.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

const WARM_UP = 20;
const LIMIT = 100;

/**
 * Requests pages of 100 domains one after the other: by cursor, by a new search text that matches many domains or one
 * domain, and by the search text of the previous request. The floor is a page of one domain.
 */
export function run({ quick }) {
  return withServices(async (keep) => {
    const { version, path } = haproxies()[0];
    const domains = quick ? 1000 : 100_000;
    const suite = await keep(startSuite(path, { servers: 100, pools: 100, domains }));
    const rounds = quick ? 10 : 100;
    const get = async (query) => JSON.parse((await suite.api('GET', `/domains?${query}`)).text);
    let cursor;
    const lists = {
      'first page': () => `limit=${LIMIT}`,
      'next page': () => `limit=${LIMIT}&cursor=${cursor}`,
      // Matches thousands of names that contain the number; tens of thousands if it has one digit.
      'search, new, found often': (round) => `limit=${LIMIT}&search=${round}`,
      'search, new, found once': (round) => `limit=${LIMIT}&search=d${round % 10}.p${round % 100}.`,
      'search, again': () => `limit=${LIMIT}&search=example`,
    };
    const samples = Object.fromEntries(Object.keys(lists).map((name) => [name, []]));
    const floor = [];
    for (let round = -WARM_UP; round < rounds; round += 1)
      for (const [name, queryOf] of Object.entries(lists)) {
        const query = queryOf(round + WARM_UP);
        const bare = await timed(() => get('limit=1'));
        let page;
        const ms = await timed(async () => {
          page = await get(query);
        });
        if (page.items.length === 0) throw new Error(`the query ${query} found no domain`);
        if (name === 'first page' || name === 'next page') cursor = page.next_cursor ?? cursor;
        if (round < 0) continue;
        samples[name].push(ms);
        floor.push(bare);
      }
    return Object.entries(samples).map(([name, ms]) => ({
      scenario: `list of ${domains} domains: ${name}`,
      haproxy: version,
      unit: 'ms',
      ...figureOf(ms, floor),
      against: 'a page of one',
      target: { value: 5 },
    }));
  });
}
