import { figureOf, median, timed } from '../lib/figures.mjs';
import { haproxies, makeHome, startEmpty } from '../lib/haproxy.mjs';
import { openRestored } from '../lib/persistence.mjs';
import { withServices } from '../lib/services.mjs';
import { startSuite } from '../lib/suite.mjs';

const REVISIONS = 1000;
const SIZE = { servers: 1000, pools: 1000, domains: 10_000 };
const WARM_UP_ROUNDS = 50;

/** A history that writes nothing: what a change costs without the history. */
const NO_HISTORY = {
  open: async () => undefined,
  recordAdoption: async () => undefined,
  stageEntries: async () => ({
    durable: Promise.resolve(),
    commit: async () => undefined,
    discard: async () => undefined,
  }),
};

/**
 * What the history costs a change (fsynced and in HAProxy), against the same change of the same code without it; and how
 * long a rollback over many revisions takes.
 */
export async function run({ quick }) {
  const results = [];
  for (const domains of quick ? [100] : [100, 10_000]) {
    const { withIt, without } = await changes(domains, quick ? 100 : 1000);
    results.push({
      ...figureOf(withIt, without),
      scenario: `history: a change with it, ${domains} domains there`,
      haproxy: haproxies()[0].version,
      unit: 'ms',
      against: 'without history',
      target: { ratio: 1.1 },
    });
  }
  results.push(...(await rollback(quick ? 50 : REVISIONS)));
  return results;
}

/** The same changes, one after the other in turn, with and without the history. Each has its own HAProxy. */
function changes(domains, rounds) {
  return withServices(async (keep) => {
    const { path } = haproxies()[0];
    const size = { servers: 100, pools: 100, domains };
    const [withIt, without] = [
      await keep(startWriter(path, size, undefined)),
      await keep(startWriter(path, size, NO_HISTORY)),
    ];
    const ms = { withIt: [], without: [] };
    for (let round = 0; round < rounds + WARM_UP_ROUNDS; round += 1) {
      const edit = (draft) =>
        draft.putServer(`pool_${(round % 100) + 1}`, 1, {
          ip: '10.0.0.1',
          http_port: 80,
          weight: 1 + (Math.floor(round / 100) % 200),
          state: 'ready',
        });
      // The first one of a pair may be slower or faster: take turns.
      const turns = [
        ['withIt', withIt],
        ['without', without],
      ];
      for (const [name, { persistence }] of round % 2 === 0 ? turns : turns.toReversed()) {
        const took = await timed(() => persistence.commit(edit));
        if (round >= WARM_UP_ROUNDS) ms[name].push(took);
      }
    }
    return ms;
  });
}

async function startWriter(binary, size, history) {
  const { home, settings, remove } = await makeHome();
  const haproxy = await startEmpty(binary, settings, size.pools);
  const { persistence } = await openRestored(settings, size, history);
  return {
    home,
    persistence,
    stop: async () => {
      await persistence.close();
      await haproxy.stop();
      await remove();
    },
  };
}

/** Changes of many domains, each a revision, and the rollback of all of them, done and undone several times. */
function rollback(revisions) {
  return withServices(async (keep) => {
    const { version, path } = haproxies()[0];
    const suite = await keep(startSuite(path, SIZE, { HAPROXY_POOL_COUNT: '2000' }));
    const before = 1;
    for (let round = 0; round < revisions; round += 1) {
      const domain = `d0.p${round % SIZE.pools}.example.com`;
      if (round % 4 === 0)
        await suite.api('POST', '/domains', { domain: `new${round}.example.com`, ip: '10.9.0.1' });
      else await suite.api('PUT', `/domains/${domain}/servers/1/weight`, { weight: 2 + (round % 200) });
    }
    const took = { rollback: [], undo: [], list: [] };
    for (let round = 0; round < 5; round += 1) {
      const started = performance.now();
      const { text } = await suite.api('POST', '/history/rollback', { revision: before });
      took.rollback.push(performance.now() - started);
      const { revision } = JSON.parse(text);
      took.undo.push(await timed(() => suite.api('POST', `/history/${revision}/undo`)));
      took.list.push(await timed(() => suite.api('GET', '/history?limit=20')));
    }
    const of = `${revisions} revisions, ${SIZE.domains} domains there`;
    return [
      { scenario: `history: roll back over ${of}`, value: median(took.rollback) },
      {
        scenario: `history: undo the rollback over ${of}`,
        value: median(took.undo),
      },
      { scenario: `history: list 20 of ${of}`, value: median(took.list) },
    ].map((result) => ({ ...result, haproxy: version, unit: 'ms' }));
  });
}
