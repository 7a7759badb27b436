import { readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tempHome } from '../../test/kit/temp-home.js';
import type { ServerSpec } from '../model/server.js';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';
import { type DownServer, DownServersFile } from './down-servers-file.js';

describe('DownServersFile', () => {
  let home: Awaited<ReturnType<typeof tempHome>>;
  let path: string;
  let file: DownServersFile;
  const spec = (port: number): ServerSpec => ({ ip: '10.0.0.1', http_port: port, weight: 1, state: 'ready' });
  const row = (pool: string, slot: number, port: number): DownServer => ({
    ...{ pool, slot, ip: '10.0.0.1', http_port: port, checkStatus: 8, checkResult: 2 },
  });
  const rows = async () =>
    (await readFile(path, 'utf8'))
      .split('\n')
      .slice(2, -1)
      .map((line) => line.split(' '))
      .map((fields) => `${fields[3]} ${fields[18]}`);
  /** pool_1 has the servers 80 and 81, pool_2 has the server 90. */
  const state = () => {
    const made = new State(0);
    const draft = new Draft(made);
    draft.addDomain('a.test', 'pool_1');
    draft.putServer('pool_1', 1, spec(80));
    draft.putServer('pool_1', 2, spec(81));
    draft.addDomain('b.test', 'pool_2');
    draft.putServer('pool_2', 1, spec(90));
    made.apply(draft, 1);
    return made;
  };

  beforeEach(async () => {
    home = await tempHome();
    path = join(home.path, 'conf/down-servers.state');
    file = new DownServersFile(path);
    await file.open(state());
    await file.write([row('pool_1', 1, 80), row('pool_2', 1, 90)]);
  });
  afterEach(() => home.remove());

  it('open > keeps the rows of servers that have the same address, and creates a missing file', async () => {
    const other = new DownServersFile(path);
    await other.write([row('pool_1', 1, 8080), row('pool_1', 2, 81), row('pool_9', 1, 90)]);
    await new DownServersFile(path).open(state());
    expect(await rows()).toEqual(['pool_1_2 81']);
    const fresh = join(home.path, 'conf/fresh');
    await new DownServersFile(fresh).open(undefined);
    expect(await readFile(fresh, 'utf8')).toMatch(/^1\n# be_id .*\n$/);
  });

  it('open > reads a file that is damaged as empty', async () => {
    await writeFile(path, '1\nnonsense\n0 pool_1 0 pool_1_1\n');
    await new DownServersFile(path).open(state());
    expect(await rows()).toEqual([]);
  });

  it('open > drops old rows of pools without another server', async () => {
    await utimes(path, new Date(0), new Date(0));
    await new DownServersFile(path).open(state());
    expect(await rows()).toEqual(['pool_1_1 80']);
  });

  it('forget > drops the rows of servers that change their address or go', async () => {
    const before = state();
    const draft = new Draft(before);
    draft.putServer('pool_1', 1, spec(8080));
    await file.forget(draft, before);
    expect(await rows()).toEqual(['pool_2_1 90']);
    const removal = new Draft(before);
    removal.removeDomain('b.test');
    removal.removeServer('pool_1', 2);
    await file.forget(removal, before);
    expect(await rows()).toEqual([]);
  });
});
