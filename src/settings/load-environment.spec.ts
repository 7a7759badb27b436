import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tempHome } from '../../test/kit/temp-home.js';
import { loadEnvironment } from './load-environment.js';

const TEXT = 'MCP_PORT=8123\nHAPROXY_BIN=/tmp/program\n';
let home: Awaited<ReturnType<typeof tempHome>>;
let file: string;

beforeEach(async () => {
  home = await tempHome();
  await mkdir(join(home.path, 'conf'), { recursive: true });
  file = join(home.path, 'conf/suite.env');
  await writeFile(file, TEXT, { mode: 0o600 });
});

afterEach(() => home.remove());

function loaded(given: Record<string, string> = {}): NodeJS.ProcessEnv {
  const env = { HAPROXY_HOME: home.path, ...given };
  loadEnvironment(env, { ofService: true });
  return env;
}

describe('loadEnvironment', () => {
  it('reads a file of this user, and keeps what is set', () => {
    expect(loaded({ MCP_PORT: '9' })).toMatchObject({ MCP_PORT: '9', HAPROXY_BIN: '/tmp/program' });
  });

  it('takes only the address from a file that everybody can write', async () => {
    await chmod(file, 0o666);
    expect(loaded()).toEqual({ HAPROXY_HOME: home.path, MCP_PORT: '8123' });
  });

  it.runIf(process.geteuid?.() === 0)('takes only the address from a file of another user', async () => {
    await chown(file, 65_534, 65_534);
    expect(loaded()).toEqual({ HAPROXY_HOME: home.path, MCP_PORT: '8123' });
  });

  it('needs no file', () => {
    const env = { HAPROXY_HOME: '/nowhere' };
    loadEnvironment(env, { ofService: true });
    expect(env).toEqual({ HAPROXY_HOME: '/nowhere' });
  });
});
