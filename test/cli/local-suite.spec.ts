import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { askSuite } from '../../src/doctor/facts/suite-answers.js';
import { listenersAt } from '../../src/lib/machine/proc-net.js';
import { serveStdio, stdioTarget } from '../../src/mcp/stdio/stdio-command.js';
import { LocalSuite } from '../../src/settings/local-suite.js';
import { loadSettings } from '../../src/settings/settings.js';
import { until } from '../kit/poll.js';
import { tempHome } from '../kit/temp-home.js';
import { runCommand } from './run-command.js';

const TOKEN = 'secret-token-0123456789';
/** The user `daemon` of every Linux. */
const STRANGER = 1;

/** An HTTP server on all addresses that prints its port, then each request. */
const LISTEN = `
const server = require('node:http').createServer((request, response) => {
  console.log(JSON.stringify([request.url, request.headers.authorization ?? '']));
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"alive"}');
});
server.listen(0, '::', () => console.log(server.address().port));
`;

const isRoot = process.getuid?.() === 0;
if (!isRoot)
  process.stdout.write('Skipped: a listener of another user gets no token, because only root starts one\n');

describe.skipIf(!isRoot)('A program of another user on the port of the suite', () => {
  let home: Awaited<ReturnType<typeof tempHome>>;
  let program: ChildProcess;
  let printed: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    program = spawn(process.execPath, ['-e', LISTEN], {
      uid: STRANGER,
      gid: STRANGER,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    printed = '';
    program.stdout?.on('data', (chunk) => (printed += String(chunk)));
    await until(() => printed.includes('\n'), { what: 'the program of another user' });
    home = await tempHome();
    await writeFile(join(home.path, 'conf/mcp-token.env'), `MCP_TOKEN=${TOKEN}\n`);
    env = { HAPROXY_HOME: home.path, MCP_PORT: printed.trim() };
  });
  beforeEach(() => {
    printed = '';
  });
  afterAll(async () => {
    program?.kill();
    await home?.remove();
  });

  const refusal =
    /^The program that listens on .* runs as the user daemon, .*\. The token was not sent\. .*--url http:/;

  it.each(['127.0.0.1', '0.0.0.0', '::', 'localhost'])(
    'gets no request of a command with MCP_HOST=%s',
    async (host) => {
      const file = join(home.path, 'domains.json');
      await writeFile(file, '{"domains": {"a.example": {"servers": [{"ip": "10.0.0.1"}]}}}');
      for (const argv of [['health'], ['domains', 'list', '--all'], ['apply', file]]) {
        const { code, stdout, stderr } = await runCommand(argv, { ...env, MCP_HOST: host });
        expect({ code, stdout }, argv.join(' ')).toEqual({ code: 3, stdout: '' });
        expect(stderr.replace(/^haproxy-suite: /, '')).toMatch(refusal);
      }
      // A token of the environment would go to the same program.
      const given = await runCommand(['health'], { ...env, MCP_HOST: host, HAPROXY_SUITE_TOKEN: TOKEN });
      expect(given.code).toBe(3);
      await runCommand(['completion', '--words', 'domains', 'get', 'a'], { ...env, MCP_HOST: host });
      expect(printed).toBe('');
    },
  );

  it('gets no message of haproxy-suite mcp, and no question of the doctor', async () => {
    const settings = loadSettings(env);
    const output = new PassThrough();
    const input = PassThrough.from(['{"jsonrpc":"2.0","id":1,"method":"ping"}\n']);
    await serveStdio(stdioTarget({}, settings), input, output);
    output.end();
    const { error } = JSON.parse(await text(output)) as { error: { message: string } };
    expect(error.message).toContain('runs as the user daemon');
    expect(await askSuite(settings)).toMatchObject({
      alive: 'other',
      reason: expect.stringContaining('runs as the user daemon') as string,
    });
    expect(printed).toBe('');
  });

  it('gets the token if the operator names it, or if the folder of the suite belongs to its user', async () => {
    const url = `http://127.0.0.1:${env['MCP_PORT']}`;
    await runCommand(['health', '--url', url], env);
    await until(() => printed.includes(TOKEN));
    printed = '';
    await chown(home.path, STRANGER, STRANGER);
    await runCommand(['health'], env);
    await until(() => printed.includes(TOKEN));
    await chown(home.path, 0, 0);
  });
});

describe('LocalSuite.connect', () => {
  it('connects to a listener of this user, and has the error of connect(2) without a listener', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const found = { host: '127.0.0.1', port, uid: process.getuid?.() };
    expect(listenersAt('127.0.0.1', port)).toMatchObject([found]);
    expect(listenersAt('127.0.0.2', port)).toEqual([]);
    const suite = (host: string) =>
      new LocalSuite(loadSettings({ MCP_HOST: host, MCP_PORT: String(port), HAPROXY_HOME: '/nowhere' }));
    const socket = await suite('127.0.0.1').connect();
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    await expect(suite('127.0.0.1').connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});
