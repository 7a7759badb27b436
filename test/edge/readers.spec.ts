import { appendFile, chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { until } from '../kit/poll.js';
import { ADMIN, READER, type Running, startFixture, withTokens } from './fixture.js';

let folder: string;
let suite: Running;
let log = '';
const go = () => join(folder, 'go');
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'readers-'));
  // A fake haproxy whose check runs until the file "go" exists. It counts its runs.
  const program = join(folder, 'haproxy');
  await appendFile(join(folder, 'runs'), '');
  await writeFile(
    program,
    `#!/bin/sh\necho run >> ${join(folder, 'runs')}\nuntil [ -e ${go()} ]; do sleep 0.05; done\n`,
  );
  await chmod(program, 0o755);
  const keep = (...parts: unknown[]) => {
    log += `${parts.map(String).join(' ')}\n`;
  };
  const logger = { log: keep, error: keep, warn: keep, debug: keep, verbose: keep, fatal: keep };
  suite = await startFixture({ ...withTokens, logger }, { HAPROXY_BIN: program });
});
afterAll(async () => {
  await suite.stop();
  await rm(folder, { recursive: true, force: true });
});

it('POST /configuration/check > runs one check at a time for many callers', async () => {
  const headers = { authorization: `Bearer ${READER}` };
  let asked = 0;
  (suite.app.getHttpServer() as Server).on('request', () => {
    asked += 1;
  });
  const checks = Promise.all(
    Array.from({ length: 50 }, async () => {
      const response = await fetch(`${suite.url}/api/v1/configuration/check`, { method: 'POST', headers });
      return [response.status, ((await response.json()) as { valid: boolean }).valid];
    }),
  );
  await until(() => asked === 50, { what: 'all requests' });
  await writeFile(go(), '');
  const answers = await checks;
  expect(new Set(answers.map(String))).toEqual(new Set(['200,true']));
  const runs = (await readFile(join(folder, 'runs'), 'utf8')).trim().split('\n');
  expect(runs.length).toBeLessThan(10);
});

it('POST /import > records malformed_request, not an internal error, if the caller disconnects', async () => {
  const head = `POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ADMIN}\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n`;
  const socket = connect(suite.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => {
    socket.write(`${head}{"domain":"a.example"}\n`, () => resolve());
  });
  const file = join(suite.home, 'data/audit.jsonl');
  socket.end();
  socket.destroy();
  const line = await until(
    async () => (await readFile(file, 'utf8')).split('\n').find((text) => text.includes('import')),
    {
      what: 'the audit line of the import',
    },
  );
  expect(JSON.parse(line)).toMatchObject({ operation: 'haproxy_import', outcome: 'malformed_request' });
  expect(log).not.toContain('The suite has failed');
});
