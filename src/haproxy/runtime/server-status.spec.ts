import { describe, expect, it } from 'vitest';
import { parseStat } from '../parsers/stat.parser.js';
import { lastCheckOf, statusOf, statusRows } from './server-status.js';

/** One server of `show stat` with the columns that its status depends on. */
function server(status: string, check = '', tracked = '', name = 'pool_1_1') {
  const header = '# pxname,svname,scur,status,weight,tracked,type,check_status,check_desc,last_chk\n';
  const [row] = parseStat(`${header}pool_1,${name},0,${status},1,${tracked},2,${check},Layer4 check,\n`);
  if (!row) throw new Error('the row is missing');
  return row;
}

describe('statusOf', () => {
  it.each([
    ['UP', 'L4OK', 'UP'],
    ['UP', 'L6OK', 'UP'],
    ['UP', 'L7OK', 'UP'],
    ['UP', 'L7OKC', 'UP'],
    ['UP', 'PROCOK', 'UP'],
    // A check is running; the result is that of the check before.
    ['UP', '* L7OK', 'UP'],
    // No check has finished.
    ['UP', 'INI', 'checking'],
    ['UP 1/3', '* INI', 'checking'],
    ['UP', 'UNK', 'checking'],
    ['UP', '', 'checking'],
    // Out of maintenance: the result is older than the maintenance.
    ['UP 1/3', 'L4OK', 'checking'],
    // The last checks failed.
    ['UP 2/3', 'L4CON', 'checking'],
    // Set with `set server … health up`.
    ['UP', 'L4CON', 'checking'],
    ['UP', 'SOCKERR', 'checking'],
    ['DOWN', 'INI', 'DOWN'],
    ['DOWN', 'L4CON', 'DOWN'],
    ['DOWN 1/2', 'L4OK', 'DOWN'],
    ['DOWN (agent)', '', 'DOWN'],
    ['MAINT', '', 'MAINT'],
    ['MAINT (via pool_1/x)', '', 'MAINT'],
    ['MAINT (resolution)', '', 'MAINT'],
    ['DRAIN', 'INI', 'DRAIN'],
    ['DRAIN 1/3', 'L4OK', 'DRAIN'],
    ['NOLB', 'L7OKC', 'DRAIN'],
    ['NOLB 1/2', 'L7OK', 'DRAIN'],
    ['no check', '', 'no check'],
  ])('maps the status %j with the check %j to %s', (status, check, expected) => {
    expect(statusOf(server(status, check))).toBe(expected);
  });

  it('uses the checks of the server that a server tracks, also in a chain', () => {
    const rows = new Map([
      ['be/passed', server('UP', 'L4OK')],
      ['be/new', server('UP', 'INI')],
      ['be/chain', server('UP', '', 'be/passed')],
      ['be/loop', server('UP', '', 'be/loop')],
    ]);
    const find = (name: string) => rows.get(name);
    expect(statusOf(server('UP', '', 'be/passed'), find)).toBe('UP');
    expect(statusOf(server('UP', '', 'be/chain'), find)).toBe('UP');
    expect(statusOf(server('UP', '', 'be/new'), find)).toBe('checking');
    expect(statusOf(server('UP', '', 'be/missing'), find)).toBe('checking');
    expect(statusOf(server('UP', '', 'be/loop'), find)).toBe('checking');
  });
});

describe('statusRows', () => {
  it('filters by status and finds tracked servers in other rows', () => {
    const rows = [server('UP', '', 'pool_1/pool_1_2'), server('UP', 'INI', '', 'pool_1_3')];
    const others = [server('UP', 'L4OK', '', 'pool_1_2')];
    expect(statusRows(rows, 'UP', others).map(({ slot }) => slot)).toEqual([1]);
    expect(statusRows(rows, 'checking', others).map(({ slot, weight }) => [slot, weight])).toEqual([[3, 1]]);
  });
});

describe('lastCheckOf', () => {
  it('is empty until a check has finished', () => {
    expect(lastCheckOf(server('UP', '* INI'))).toBe('');
    expect(lastCheckOf(server('UP', 'L4OK'))).toBe('Layer4 check');
  });
});
