import { figureOf, timed } from '../lib/figures.mjs';
import { haproxies } from '../lib/haproxy.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

const WARM_UP = 20;
const LIMIT = 100;

/**
 * Pages of 100 from the list of domains, by cursor and by search, one request after the other: a needle that nobody has
 * asked for yet (found often, or hardly at all), and one that was just asked for. The floor is a page of one.
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
      // All names with this number anywhere in them: thousands, with one digit tens of thousands.
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
        if (page.items.length === 0) throw new Error(`nothing was found by ${query}`);
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
