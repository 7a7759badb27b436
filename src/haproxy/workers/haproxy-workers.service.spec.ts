import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tempHome } from '../../../test/kit/temp-home.js';
import type { Settings } from '../../settings/settings.js';
import type { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import type { HaproxyInfo } from '../parsers/info.parser.js';
import { parseStat, STAT } from '../parsers/stat.parser.js';
import { HaproxyWorkers } from './haproxy-workers.service.js';

const HEADER =
  '#<PID> <type> <reloads> <uptime> <version>\n1 master 1 [failed: 0] 0d00h01m00s 3.2\n# workers\n';
const ALONE = `${HEADER}10 worker 0 0d00h00m05s 3.2\n`;
const WITH_OLD = `${ALONE}# old workers\n9 worker 1 0d00h00m50s 3.2\n`;
const FRONTENDS = '# pxname,svname,scur,type\nweb,FRONTEND,3,0\n\n';
const SERVERS = `1
# be_name srv_name srv_addr srv_admin_state srv_uweight srv_fqdn srv_port srv_op_state srv_check_state srv_check_status srv_check_result srv_use_ssl
pool_1 pool_1_1 10.0.0.1 0 1 - 80 2 6 6 3 0

`;
const STATS = '# pxname,svname,scur,addr,type\npool_1,pool_1_1,2,10.0.0.1:80,2\n\n';
const CURRENT = { pid: 10, startedSec: 5, totalConnections: 7 } as HaproxyInfo;

let home: Awaited<ReturnType<typeof tempHome>>;
let master: Server;
/** The commands of each connection to the master. */
let connections: string[];
/** The answer to the commands of a connection. */
let answer: (commands: string) => string;
let workers: HaproxyWorkers;

beforeEach(async () => {
  home = await tempHome();
  const path = join(home.path, 'run/master.sock');
  connections = [];
  answer = (commands) => (commands.startsWith('show proc') ? WITH_OLD : FRONTENDS + SERVERS + STATS);
  master = createServer((socket) => {
    socket.once('data', (data) => {
      connections.push(data.toString());
      socket.end(answer(data.toString()));
    });
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => {
    master.listen(path, resolve);
  });
  const rows = parseStat('# pxname,svname,scur,addr,status,type\npool_1,pool_1_1,1,10.0.0.1:80,DRAIN,2\n');
  const runtime = {
    statsOfProcess: () => Promise.resolve({ info: CURRENT, rows }),
    trackedRows: () => Promise.resolve([]),
  };
  workers = new HaproxyWorkers(
    { master: { path }, folders: { run: dirname(path) } } as Settings,
    runtime as unknown as HaproxyRuntimeService,
  );
});

afterEach(async () => {
  master.close();
  await home.remove();
});

describe('HaproxyWorkers', () => {
  it('adds the connections of old workers to the same server at the same address', async () => {
    expect(await workers.serverStatuses(['pool_1'])).toMatchObject([{ slot: 1, connections: 3 }]);
    expect(connections[1]).toBe('@!9 show stat -1 1 -1\n@!9 show servers state\n@!9 show stat pool_1 4 -1\n');
    const readdressed = STATS.replace('10.0.0.1:80', '10.0.0.2:80');
    answer = (commands) => (commands.startsWith('show proc') ? WITH_OLD : FRONTENDS + readdressed);
    expect(await workers.serverStatuses(['pool_1'])).toMatchObject([{ connections: 1 }]);
  });

  it('asks the master only once for a worker without old workers', async () => {
    answer = () => ALONE;
    for (let n = 0; n < 3; n += 1) await workers.serverStatuses(['pool_1']);
    expect(connections).toEqual(['show proc;quit\n']);
    // Another process may have old workers.
    await workers.oldRows({ pid: 11, startedSec: 9, totalConnections: 0 }, [], STAT.servers);
    expect(connections).toHaveLength(2);
  });

  it('leaves out a worker that ends while it answers', async () => {
    const answers = [
      WITH_OLD,
      `${FRONTENDS}1\n# be_na`,
      "Can't find the target PID matching the prefix '@!9'\n",
    ];
    answer = () => answers.shift() ?? '';
    expect(await workers.oldRows(CURRENT, ['pool_1'], STAT.servers)).toEqual({ known: true, states: [] });
    expect(answers).toEqual([]);
  });

  it.each([
    ['gives half an answer again', FRONTENDS, 'worker 9 gave 1 of 2 answers'],
    ['is behind a master that lost it', "Can't connect to the target CLI!\n", 'cannot connect to worker 9'],
  ])('reports a worker that %s', async (_, text, problem) => {
    answer = (commands) => (commands.startsWith('show proc') ? WITH_OLD : text);
    const [state] = await workers.inspect([{ pid: 9, replacedSeconds: 5 }]);
    expect(state?.problem).toContain(problem);
    // A read that is not strict asks once, and then not again for some seconds.
    expect(await workers.oldRows(CURRENT, [], STAT.servers)).toMatchObject({ known: false });
    const before = connections.length;
    expect(await workers.oldRows(CURRENT, [], STAT.servers)).toEqual({ known: false, states: [] });
    expect(connections).toHaveLength(before);
  });

  it.each([
    ['the master of another HAProxy', ALONE.replace('10 worker', '77 worker'), 'other_haproxy'],
    [
      'a master that has just replaced the worker',
      WITH_OLD.replace('10 w', '12 w').replace('\n9 w', '\n10 w'),
      'reload',
    ],
    ['a master that refuses', 'Permission denied!\n', 'no_answer'],
    ['another program', '220 mail.example ESMTP\r\n', 'no_answer'],
  ])('does not know the old workers from %s', async (_, text, cause) => {
    answer = () => text;
    expect(await workers.list(CURRENT)).toMatchObject({ known: false, cause });
    expect(workers.isAlone(CURRENT)).toBe(false);
  });

  it('leaves out a worker that the master lists although its process has ended', async () => {
    const [ended, current] = [spawn('true'), spawn('sleep', ['60'])];
    await once(ended, 'exit');
    try {
      const list = (master: number) =>
        `#<PID>\n${master} master 1 [failed: 0] 0d00h01m00s 3.0\n# workers\n${current.pid} worker 0 0d00h00m05s 3.0\n# old workers\n${ended.pid} worker 2 0d00h00m50s 3.0\n`;
      answer = () => list(process.pid);
      expect(await workers.list({ ...CURRENT, pid: current.pid ?? 0 })).toMatchObject({ workers: [] });
      // The processes of another PID namespace: nothing is known about the process with this pid here.
      answer = () => list(1_000_000_000);
      expect(await workers.list({ ...CURRENT, pid: current.pid ?? 0 })).toMatchObject({
        workers: [{ pid: ended.pid }],
      });
    } finally {
      current.kill();
    }
  });

  it('does not know the old workers without a master', async () => {
    await new Promise((resolve) => {
      master.close(resolve);
    });
    expect(await workers.list(CURRENT)).toMatchObject({ known: false, cause: 'no_master' });
  });
});
