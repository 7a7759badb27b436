import { describe, expect, it } from 'vitest';
import { callContext, runWithCallContext } from '../contract/call-context.js';
import { HistoryService } from './history.service.js';

describe('HistoryService', () => {
  it('reads the later revisions for one caller at a time, and not for one that has gone', async () => {
    let [reading, most, reads] = [0, 0, 0];
    const actors: string[] = [];
    const log = {
      follow: async (_: number, check: () => void) => {
        reading += 1;
        reads += 1;
        most = Math.max(most, reading);
        await new Promise((resolve) => setTimeout(resolve, 5));
        check();
        return { entries: [], reachesBack: true, stop: () => void (reading -= 1) };
      },
    };
    const persistence = {
      change: async () => {
        actors.push(callContext().actor);
        const change = { pools: [], domains: [], servers: [], sites: [] };
        return { value: { change, ended: [] }, planned: {} };
      },
    };
    const unused = {} as never;
    const service = new HistoryService(
      log as never,
      persistence as never,
      unused,
      unused,
      unused,
      unused,
      unused,
    );
    const gone = new AbortController();
    const undo = (actor: string, signal = new AbortController().signal) =>
      runWithCallContext({ ...callContext(), actor, signal: () => signal }, () =>
        service.undo({ revision: 1, dry_run: true }),
      );
    const calls = [undo('a'), undo('b', gone.signal), undo('c')];
    gone.abort();
    const settled = await Promise.allSettled(calls);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(settled[1]).toMatchObject({ reason: { code: 'cancelled' } });
    expect([most, reads, reading]).toEqual([1, 2, 0]);
    expect(actors).toEqual(['a', 'c']);
  });

  it.each([
    ['mcp', 100, 100, undefined, 100],
    ['mcp', 101, 100, 1, undefined],
    ['rest', 101, 101, undefined, 101],
  ] as const)(
    'shows over %s of a revision with %i values %i lines',
    async (via, values, shown, more, kept) => {
      const domains = Array.from({ length: values }, (_, index) => [`d${index}.test`, null, 'pool_1']);
      const entry = { revision: 1, domains: [], change: { pools: [], domains, servers: [], sites: [] } };
      const log = {
        newestFirst: async function* () {
          yield await Promise.resolve(entry);
        },
      };
      const unused = {} as never;
      const service = new HistoryService(log as never, unused, unused, unused, unused, unused, unused);
      const { items } = await runWithCallContext({ ...callContext(), via }, () =>
        service.list({ limit: 10, revision: 1 }),
      );
      const [item] = items;
      const change = item?.change as { domains: unknown[] } | undefined;
      expect([item?.diff.length, item?.more_diff, change?.domains.length]).toEqual([shown, more, kept]);
    },
  );
});
