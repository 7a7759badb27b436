import { execFileSync } from 'node:child_process';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../errors/app-error.js';
import { loadSettings } from '../settings/settings.js';
import { EventFeed } from '../signals/event-feed.js';
import { NamedTokens } from './named-tokens.js';
import { digestOf, TokenStore } from './token-store.js';
import { formatTokensFile } from './tokens-file.js';

let home: string;
let path: string;
let ended: string[];
const open: NamedTokens[] = [];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'named-tokens-'));
  path = join(home, 'conf/tokens.json');
  await mkdir(join(home, 'conf'));
  ended = [];
});
afterEach(async () => {
  vi.useRealTimers();
  for (const tokens of open.splice(0)) tokens.onApplicationShutdown();
  await rm(home, { recursive: true, force: true });
});

function start(): NamedTokens {
  const feed = new EventFeed();
  feed.subscribe((event) => {
    if (event.topic === 'token_ended') ended.push(event.owner.split(' ').slice(0, 3).join(' '));
  });
  const tokens = new NamedTokens(loadSettings({ HAPROXY_HOME: home }), feed);
  open.push(tokens);
  tokens.open();
  return tokens;
}

const entry = (name: string, role = 'read', more: object = {}) => ({
  name,
  sha256: digestOf(`secret of ${name}`).toString('hex'),
  role,
  ...more,
});
const write = (...entries: object[]) => writeFile(path, formatTokensFile(entries), { mode: 0o600 });
const found = (tokens: NamedTokens, name: string) => tokens.find(digestOf(`secret of ${name}`))?.name;
const add = (tokens: NamedTokens, name: string) =>
  tokens.add({ name, role: 'operate', expiresAt: undefined }, false);
const codeOf = (failure: unknown) => (failure instanceof AppError ? failure.code : failure);

describe('NamedTokens', () => {
  it('makes a secret of 256 bits, and keeps only its digest, in a file for its owner', async () => {
    const tokens = start();
    expect(await readdir(join(home, 'conf'))).toEqual([]);
    const secret = await add(tokens, 'ci');
    expect(secret).toMatch(/^hst_[\w-]{43}$/);
    expect(tokens.find(digestOf(secret))).toMatchObject({ name: 'ci', role: 'operate' });
    expect(tokens.find(digestOf(`${secret}x`))).toBeUndefined();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const text = await readFile(path, 'utf8');
    expect(text).toContain(digestOf(secret).toString('hex'));
    expect(text).not.toContain(secret.slice(4));
    expect(await readdir(join(home, 'conf'))).toEqual(['tokens.json']);
    // A suite that starts again knows it.
    expect(start().find(digestOf(secret))?.name).toBe('ci');
  });

  it('adds all of many tokens at once, one of each name, and finds each', async () => {
    const tokens = start();
    await write(...Array.from({ length: 1000 }, (_, index) => entry(`old-${index}`)));
    const names = Array.from({ length: 20 }, (_, index) => `new-${index % 10}`);
    const results = await Promise.allSettled(names.map((name) => add(tokens, name)));
    const secrets = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(secrets.map((secret) => tokens.find(digestOf(secret))?.name)).toEqual(names.slice(0, 10));
    expect(results.slice(10).map((one) => codeOf((one as PromiseRejectedResult).reason))).toEqual(
      Array(10).fill('token_exists'),
    );
    for (let index = 0; index < 1000; index += 1) expect(found(tokens, `old-${index}`)).toBe(`old-${index}`);
    expect(tokens.tokens).toHaveLength(1010);
  });

  it('reads a changed file, and ends what was revoked, what has another role, other limits or another secret', async () => {
    const limited = { domains: ['*.a.test'] };
    await write(
      entry('narrow', 'read', limited),
      entry('same', 'read', limited),
      entry('kept'),
      entry('longer'),
      entry('gone'),
      entry('promoted'),
      entry('renewed'),
    );
    const tokens = start();
    await write(
      entry('narrow', 'read', { domains: ['b.a.test'] }),
      entry('same', 'read', limited),
      entry('kept'),
      entry('longer', 'read', { expires_at: '2099-01-01T00:00:00Z' }),
      entry('promoted', 'admin'),
      { ...entry('renewed'), sha256: digestOf('another').toString('hex') },
    );
    tokens.refresh();
    expect(ended.toSorted()).toEqual([
      'token gone read',
      'token narrow read',
      'token promoted read',
      'token renewed read',
    ]);
    expect(found(tokens, 'gone')).toBeUndefined();
    expect(found(tokens, 'renewed')).toBeUndefined();
    expect(tokens.find(digestOf('secret of promoted'))?.role).toBe('admin');
    ended = [];
    await rm(path);
    tokens.refresh();
    expect(ended).toHaveLength(6);
    expect(tokens.problems).toEqual([]);
  });

  const spoilt: [string, () => Promise<unknown>, RegExp][] = [
    ['is broken', () => writeFile(path, '{"tokens": [', { mode: 0o600 }), /Line 1 is not valid JSON/],
    ['is readable by its group', () => chmod(path, 0o640), /mode 640\)\. Run chmod 600/],
    ['is readable by everyone', () => chmod(path, 0o604), /mode 604\)\. Run chmod 600/],
    [
      'is a FIFO',
      async () => (await rm(path), execFileSync('mkfifo', ['-m', '600', path])),
      /no file of at most/,
    ],
    ['is a folder', async () => (await rm(path), await mkdir(path, { mode: 0o700 })), /no file of at most/],
  ];
  // Only root can give a file away.
  if (process.geteuid?.() === 0)
    spoilt.push([
      'belongs to another user',
      () => chown(path, 65_534, 65_534),
      /user 65534, .* run chown 0 /,
    ]);
  it.each(spoilt)(
    'keeps the last valid tokens while the file %s, and gives none of them access after a start',
    async (_, spoil, reason) => {
      await write(entry('ci'));
      const tokens = start();
      await spoil();
      tokens.refresh();
      expect(found(tokens, 'ci')).toBe('ci');
      expect(ended).toEqual([]);
      expect(tokens.problems.join()).toMatch(/last valid version stay in force/);
      expect(tokens.problems.join()).toMatch(reason);
      const before = await stat(path);
      for (const failing of [add(tokens, 'more'), tokens.revoke('ci', false)])
        await expect(failing.catch(codeOf)).resolves.toBe('storage_failed');
      expect((await stat(path)).ino).toBe(before.ino);
      const restarted = start();
      expect(found(restarted, 'ci')).toBeUndefined();
      expect(restarted.problems.join()).toMatch(/None of its tokens is valid/);
      await rm(path, { recursive: true });
      await write(entry('ci'));
      restarted.refresh();
      tokens.refresh();
      expect([found(restarted, 'ci'), ...restarted.problems, ...tokens.problems]).toEqual(['ci']);
      expect(ended).toEqual([]);
    },
  );

  it('reads a file again that could not be read, although it has not changed', async () => {
    await write(entry('ci'));
    const tokens = start();
    // Root cannot follow a loop of links either.
    const away = join(home, 'away');
    await rename(join(home, 'conf'), away);
    await symlink('conf', join(home, 'conf'));
    tokens.refresh();
    expect(found(tokens, 'ci')).toBe('ci');
    expect(tokens.problems.join()).toMatch(/stay in force.*ELOOP/);
    const restarted = start();
    expect(restarted.problems.join()).toMatch(/None of its tokens is valid.*ELOOP/);
    await rm(join(home, 'conf'));
    await rename(away, join(home, 'conf'));
    for (const one of [tokens, restarted]) {
      one.refresh();
      expect([found(one, 'ci'), ...one.problems]).toEqual(['ci']);
    }
  });

  it('keeps the tokens of MCP_TOKEN_FILE while the file cannot be examined', async () => {
    const file = join(home, 'conf/mcp-token.env');
    await writeFile(file, 'MCP_TOKEN=first-token-0123456789\n', { mode: 0o600 });
    const store = new TokenStore(loadSettings({ HAPROXY_HOME: home }), new EventFeed());
    await store.open();
    vi.useFakeTimers({ now: Date.now() + 2000, toFake: ['Date'] });
    await rm(file);
    await symlink('mcp-token.env', file);
    expect(store.find(digestOf('first-token-0123456789'))?.name).toBe('admin');
    await rm(file);
    await writeFile(file, 'MCP_TOKEN=second-token-0123456789\n', { mode: 0o600 });
    vi.setSystemTime(Date.now() + 2000);
    expect(store.find(digestOf('second-token-0123456789'))?.name).toBe('admin');
    expect(store.find(digestOf('first-token-0123456789'))).toBeUndefined();
    store.onApplicationShutdown();
  });

  it('keeps entries that it does not understand, and names them', async () => {
    const limited = entry('limited', 'admin', { paths: ['/api'] });
    await write(limited, entry('ci'));
    const tokens = start();
    expect(found(tokens, 'limited')).toBeUndefined();
    expect(tokens.problems.join()).toMatch(/The token limited in \S+ is not valid: .*"paths"/);
    await add(tokens, 'more');
    expect((JSON.parse(await readFile(path, 'utf8')) as { tokens: object[] }).tokens).toContainEqual(limited);
    await expect(add(tokens, 'limited').catch(codeOf)).resolves.toBe('token_exists');
    await tokens.revoke('limited', false);
    expect(tokens.problems).toEqual([]);
    await expect(tokens.revoke('limited', false).catch(codeOf)).resolves.toBe('token_not_found');
    // Nothing can revoke an entry without a valid name.
    await write(limited, entry('No Name'));
    tokens.refresh();
    expect(tokens.problems).toEqual([
      expect.stringMatching(/^The token limited .* Revoke or repair it\.$/),
      expect.stringMatching(/^The token number 2 .* Repair it, or remove it from the file\.$/),
    ]);
  });

  it('follows the clock: an expired token has no access and ends once, until the clock goes back', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2027, 0, 1) });
    await write(
      entry('ci', 'read', { expires_at: '2027-01-01T00:01:00Z' }),
      entry('past', 'read', { expires_at: '2000-01-01T00:00:00Z' }),
    );
    const tokens = start();
    expect([found(tokens, 'ci'), found(tokens, 'past')]).toEqual(['ci', undefined]);
    tokens.refresh();
    ended = [];
    vi.setSystemTime(Date.UTC(2027, 0, 1, 0, 0, 59));
    tokens.refresh();
    expect([found(tokens, 'ci'), ended]).toEqual(['ci', []]);
    vi.setSystemTime(Date.UTC(2027, 0, 1, 0, 1));
    expect(found(tokens, 'ci')).toBeUndefined();
    tokens.refresh();
    tokens.refresh();
    expect(ended).toEqual(['token ci read']);
    vi.setSystemTime(Date.UTC(2027, 0, 1));
    tokens.refresh();
    expect(found(tokens, 'ci')).toBe('ci');
    vi.setSystemTime(Date.UTC(2028, 0, 1));
    tokens.refresh();
    expect(ended).toHaveLength(2);
  });

  it('changes nothing if the file cannot be written, and in a dry run', async () => {
    await write(entry('ci'));
    const tokens = start();
    await add(tokens, 'x').then(() => tokens.revoke('x', false));
    await tokens.add({ name: 'planned', role: 'admin', expiresAt: undefined }, true);
    await tokens.revoke('ci', true);
    expect(tokens.tokens.map(({ name }) => name)).toEqual(['ci']);
    const text = await readFile(path, 'utf8');
    // The temporary file cannot be created, for root neither.
    await symlink(join(home, 'missing/tokens.json'), join(home, 'conf/link.json'));
    const settings = loadSettings({ HAPROXY_HOME: home, TOKENS_FILE: join(home, 'conf/link.json') });
    const failing = new NamedTokens(settings, new EventFeed());
    failing.open();
    open.push(failing);
    await expect(add(failing, 'ci').catch(codeOf)).resolves.toBe('storage_failed');
    expect(failing.tokens).toEqual([]);
    expect(await readFile(path, 'utf8')).toBe(text);
  });
});
