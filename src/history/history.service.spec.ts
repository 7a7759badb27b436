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
        return { value: { pools: [], domains: [], servers: [], sites: [] }, planned: {} };
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
});
