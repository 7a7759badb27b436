import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { oldestHaproxy } from '../kit/haproxy/haproxy-versions.js';
import { type Home, makeHome, Suite } from '../kit/suite/suite.js';
import { toolPath } from '../kit/tool-path.js';
import { startBackend } from '../kit/traffic/backend.js';
import { type FakeSuite, startFakeSuite } from './fake-suite.js';
import { runCommand } from './run-command.js';

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, '../../dist/main.js');

const hasFish = spawnSync('fish', ['--version']).status === 0;
if (!hasFish) process.stdout.write('Skipped: completion in fish, because fish is not installed\n');

/** Starts a fake suite that ends with the test. */
async function fake(...args: Parameters<typeof startFakeSuite>): Promise<FakeSuite> {
  const suite = await startFakeSuite(...args);
  onTestFinished(() => suite.close());
  return suite;
}

const domainOf = (n: number) => ({
  domain: `d${n}.example.com`,
  pool: `pool_${n}`,
  shared_with: [],
  server_count: 1,
});
const page = (items: unknown[], next_cursor: string | null, total = items.length) => ({
  next_cursor,
  total,
  items,
});

describe('haproxy-suite on a suite of this machine', () => {
  let home: Home;
  let suite: Suite;
  let env: Record<string, string>;

  beforeAll(async () => {
    home = await makeHome(oldestHaproxy());
    suite = await Suite.start(home);
    env = { HAPROXY_HOME: home.path, MCP_PORT: String(home.apiPort), NO_COLOR: '1' };
  });
  afterAll(async () => {
    await suite?.stop();
    await home?.remove();
  });

  /** The built program as its own process, through a shell. */
  const shell = (script: string) =>
    run('bash', ['--norc', '-c', script], {
      env: { PATH: process.env['PATH'] ?? '', ...env, SUITE: `${process.execPath} ${MAIN}` },
      cwd: '/',
    });

  it('adds a domain, waits until it is healthy, shows it, and removes it', async () => {
    const backend = await startBackend('one');
    onTestFinished(() => backend.close());
    const { stdout: planned } = await shell(
      `$SUITE domains add example.com --ip 127.0.0.1 --http-port ${backend.port} --dry-run`,
    );
    expect(planned).toMatch(/^Dry run: nothing was changed\. The command would do:\n {2}1\. /);
    expect((await runCommand(['domains', 'get', 'example.com'], env)).code).toBe(1);
    const added = await shell(
      `$SUITE domains add example.com --ip 127.0.0.1 --http-port ${backend.port} --wait`,
    );
    expect(added.stdout).toMatch(/^domain: +example\.com$/m);
    expect(added.stderr).toMatch(/example\.com is healthy: /);
    const list = await runCommand(['domains', 'list'], env);
    expect(list).toMatchObject({ code: 0, stderr: '' });
    expect(list.stdout).toMatch(/^DOMAIN +POOL +WILDCARD .*\nexample\.com +pool_1 +no /);
    const more = [
      '--server',
      `ip=127.0.0.1,port=${backend.port},weight=80`,
      '--server',
      'ip=127.0.0.2,weight=20',
    ];
    const put = await runCommand(['domain', 'put', 'example.com', ...more, '--json'], env);
    expect(JSON.parse(put.stdout)).toMatchObject({
      servers: [{ weight: 80 }, { weight: 20, http_port: 80 }],
    });
    const completed = await runCommand(['completion', '--words', 'domains', 'get', 'exa'], env);
    expect(completed.stdout).toBe('example.com\n');
    const removed = await runCommand(['domains', 'remove', 'example.com'], env);
    expect(removed.code, removed.stderr).toBe(0);
    expect((await runCommand(['domains', 'health', 'example.com'], env)).code).toBe(1);
  });

  it('ends --wait with exit code 4 if the domain does not become healthy', async () => {
    await runCommand(['domains', 'add', 'down.example.com', '--ip', '127.0.0.1', '--http-port', '9'], env);
    onTestFinished(async () => void (await runCommand(['domains', 'remove', 'down.example.com'], env)));
    const waited = await runCommand(['domains', 'wait-healthy', 'down.example.com', '--timeout', '1'], env);
    expect(waited.code).toBe(4);
    expect(waited.stdout).toMatch(/^status: +(?:down|checking)$/m);
  });

  it('reads a body and a certificate from files and from stdin, and shows no secret', async () => {
    const body = join(home.path, 'body.json');
    await writeFile(body, '{"ip":"127.0.0.1","http_port":9}');
    const added = await shell(
      `$SUITE domains add file.example.com --json-body ${body} --http-port 10 --json`,
    );
    expect(JSON.parse(added.stdout)).toMatchObject({ domain: 'file.example.com' });
    const { stdout } = await shell(`$SUITE domains export | tee ${home.path}/all.ndjson`);
    expect(JSON.parse(stdout)).toMatchObject({ domain: 'file.example.com', servers: [{ http_port: 10 }] });
    const imported = await shell(`$SUITE domains import - --mode replace < ${home.path}/all.ndjson`);
    expect(imported.stdout).toMatch(/^lines: +1$/m);
    const pem = await shell('echo secret | $SUITE certs load file.example.com --pem - || true');
    expect(pem.stderr).toMatch(/^haproxy-suite: validation_failed: The PEM text has no PEM block [^\n]*\n$/);
    // The problem is said once.
    expect(pem.stderr.match(/has no PEM block/g)).toHaveLength(1);
    expect(pem.stderr).not.toContain('secret');
  });

  it('ends quietly if the reader of its output ends', async () => {
    const lines = Array.from({ length: 3000 }, (_, n) => JSON.stringify({ domain: `n${n}.example.org` }));
    await writeFile(join(home.path, 'many.ndjson'), `${lines.join('\n')}\n`);
    // Domains without a server share no pool, and there are 100 pools. So they join the pool of the first.
    const shared = lines.map((line, n) =>
      n === 0 ? line : line.replace('}', ',"share_with":"n0.example.org"}'),
    );
    await writeFile(join(home.path, 'many.ndjson'), `${shared.join('\n')}\n`);
    await shell(`$SUITE domains import ${home.path}/many.ndjson`);
    const { stdout, stderr } = await shell(
      '$SUITE domains list --all --json | head -c 1; echo " ${PIPESTATUS[0]}"; $SUITE domains list --all | head -1 >/dev/null; echo "${PIPESTATUS[0]}"',
    );
    expect(stdout).toBe('{ 0\n0\n');
    expect(stderr).toBe('');
    const { stdout: count } = await shell('$SUITE domains list --all | tail -n +2 | wc -l');
    expect(Number(count)).toBeGreaterThanOrEqual(3000);
  });

  it('completes in bash', async () => {
    const { stdout } = await shell(
      `haproxy-suite() { $SUITE "$@"; }; source <($SUITE completion bash)
       COMP_WORDS=(haproxy-suite servers set-state n7.example.org 1 dr); COMP_CWORD=5; _haproxy_suite; echo "\${COMPREPLY[@]}"
       COMP_WORDS=(haproxy-suite servers set-state n299); COMP_CWORD=3; _haproxy_suite; echo "\${#COMPREPLY[@]}"
       COMP_WORDS=(haproxy-suite servers set); COMP_CWORD=2; _haproxy_suite; echo "\${COMPREPLY[@]}"`,
    );
    expect(stdout).toBe('drain\n11\nset-state set-weight\n');
  });

  it('completes in zsh: words, domains, after a global option, and files where there are no words', async () => {
    const zsh = toolPath('zsh');
    const root = join(await realpath(zsh), '../../zsh/root/usr');
    const folder = join(home.path, 'data/zsh');
    const bin = join(folder, 'bin/haproxy-suite');
    await mkdir(join(folder, 'bin'), { recursive: true });
    await writeFile(bin, `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, { mode: 0o755 });
    // The folders of Debian's package are in another place.
    await writeFile(
      join(folder, '.zshenv'),
      `module_path=(${root}/lib/*/zsh/*(/))\nfpath=(${root}/share/zsh/functions/**/*(/))\n`,
    );
    await writeFile(
      join(folder, '.zshrc'),
      `autoload -Uz compinit; compinit -D -u
       source <(haproxy-suite completion zsh)
       show() { print -r -- "<$BUFFER>"; BUFFER= }; zle -N show; bindkey '^Xp' show
       print RE''ADY\n`,
    );
    // A shell at a pseudo terminal gets the words and Tab. Then ^Xp shows the line.
    await writeFile(
      join(folder, 'press.zsh'),
      `zmodload zsh/zpty; zpty shell '${zsh}' -i
       take() { local part; shown=; until [[ $shown = $~1 ]]; do zpty -r shell part || break; shown+=$part; done }
       take '*READY*'
       for line in "$@"; do
         zpty -w -n shell "haproxy-suite $line"$'\\t\\x18p'
         take '*<*>*'; print -r -- "\${\${shown##*<}%%>*}"
       done
       zpty -d shell\n`,
    );
    const typed = [
      'servers set-st',
      '--json servers set-state n7.example.org 1 dr',
      'domains get n2998.',
      `domains import ${home.path}/con`,
    ];
    const { stdout } = await run(zsh, [join(folder, 'press.zsh'), ...typed], {
      env: { PATH: `${join(folder, 'bin')}:${process.env['PATH']}`, TERM: 'xterm', ZDOTDIR: folder, ...env },
      cwd: '/',
      timeout: 60_000,
    });
    expect(stdout.split('\n')).toEqual([
      'haproxy-suite servers set-state ',
      'haproxy-suite --json servers set-state n7.example.org 1 drain ',
      'haproxy-suite domains get n2998.example.org ',
      `haproxy-suite domains import ${home.path}/conf/`,
      '',
    ]);
  });

  it.skipIf(!hasFish)('completes in fish: words, domains, and files where there are no words', async () => {
    const completed = (line: string) => `complete -C 'haproxy-suite ${line}'; echo -;`;
    const { stdout } = await shell(
      `mkdir -p ${home.path}/bin && printf '#!/bin/sh\\nexec %s "$@"\\n' "$SUITE" > ${home.path}/bin/haproxy-suite && chmod +x ${home.path}/bin/haproxy-suite
       export PATH=${home.path}/bin:$PATH HOME=${home.path}
       fish --no-config -c "haproxy-suite completion fish | source; ${completed('servers set')} ${completed('servers set-state n7.example.org 1 dr')} ${completed(`domains import ${home.path}/con`)}"`,
    );
    expect(stdout).toBe(`set-state\nset-weight\n-\ndrain\n-\n${home.path}/conf/\n-\n`);
  });

  it('says what to do if the token is missing or wrong, and never shows one', async () => {
    const other = { ...env, HAPROXY_SUITE_TOKEN: 'wrong-token-0123456789' };
    const wrong = await runCommand(['health'], other);
    expect(wrong).toMatchObject({ code: 1, stdout: '' });
    expect(wrong.stderr).toMatch(
      /^haproxy-suite: unauthorized: [^\n]+ --token-file or HAPROXY_SUITE_TOKEN\.\n$/,
    );
    const missing = await runCommand(['health'], {
      HAPROXY_HOME: '/nowhere',
      MCP_PORT: String(home.apiPort),
    });
    expect(missing.stderr).toMatch(
      /unauthorized: .*token file \/nowhere\/conf\/mcp-token\.env .*HAPROXY_SUITE_TOKEN/,
    );
    const token = await suite.token();
    for (const { stdout, stderr } of [wrong, missing, await runCommand(['health'], env)])
      expect(`${stdout}${stderr}`).not.toMatch(new RegExp(`${token}|wrong-token`));
  });

  it.each([
    [['domians', 'list'], /domians.*Did you mean domains/],
    [['domains', 'lst'], /lst.*Did you mean list/],
    [['domains'], /--help/],
    [['domains', 'list', '--serch', 'x'], /--serch.*Did you mean --search/],
    [['domains', 'get'], /needs <domain>/],
    [['domains', 'get', 'a.example', 'b.example'], /"b\.example" is too much/],
    [['domains', 'get', ''], /<domain> must not be empty/],
    [['domains', 'add', 'a.example', '--http-port', 'NaN'], /--http-port must be a whole number.*"NaN"/],
    [['servers', 'set-weight', 'a.example', 'one', '1'], /<slot> must be a whole number/],
    [['servers', 'set-state', 'a.example', '1', 'off'], /<state> must be one of ready, drain, maint/],
    [
      ['domains', 'put', 'a.example', '--server', 'ip=1.1.1.1,prt=1'],
      /has the unknown key "prt"\. The keys are .*http_port/,
    ],
    [['domains', 'put', 'a.example', '--server', '1.1.1.1'], /"1\.1\.1\.1", which is no key=value/],
    [['domains', 'put', 'a.example', '--json-body', '/nowhere'], /--json-body.*cannot be read/],
    [['domains', 'import'], /needs <file>/],
    [['domains', 'import', '/nowhere'], /cannot be read/],
    [['health', '--url', 'ftp://host'], /--url must be the address/],
    [['apply', '--dryrun', 'x.yaml'], /apply has no option "--dryrun"\. The options are --dry-run, /],
    [['apply', '--url'], /Option '--url <value>' argument missing\. Run haproxy-suite apply --help/],
    [['doctor', 'now'], /Unexpected argument 'now'\. Run haproxy-suite doctor --help/],
    [['completion', 'tcsh'], /bash \| zsh \| fish/],
    [['serve', 'now'], /serve takes no arguments/],
  ])('refuses %j with exit code 2 and one line', async (argv, message) => {
    const result = await runCommand(argv, env);
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(/^haproxy-suite: [^\n]+\n$/);
    expect(result.stderr).toMatch(message);
  });

  it('never shows a private key or a token that is given in the place of a file or another word', async () => {
    const secret = 'MIGHAgEAMBMGByqGSM49';
    const pem = `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`;
    const file = join(home.path, 'key.pem');
    await writeFile(file, secret);
    for (const argv of [
      ['certs', 'load', 'a.example', '--pem', pem],
      ['certs', 'load', 'a.example', `--pem=${pem}`],
      ['certs', 'load', 'a.example', '--pem', `${secret}\n${secret}`],
      ['certs', 'load', 'a.example', pem],
      ['certs', 'load', 'a.example', 'b.example', pem],
      ['domains', 'put', 'a.example', '--server', pem],
      ['domains', 'put', 'a.example', '--json-body', pem],
      ['domains', 'put', 'a.example', '--json-body', file],
      ['domains', 'put', 'a.example', '--http-port', pem],
      ['domains', 'import', pem],
      ['health', '--token-file', secret],
      ['apply', '--token-file', secret, '--dry-run', pem],
      ['apply', pem],
      ['doctor', pem],
      ['doctor', `${secret}\n${secret}`],
      [pem],
    ]) {
      const { code, stdout, stderr } = await runCommand(argv, env);
      const shown = argv.join(' ').slice(0, 60);
      expect(code, shown).toBe(2);
      expect(`${stdout}${stderr}`, shown).not.toMatch(/MIGHA/);
      expect(stderr, shown).toMatch(/^haproxy-suite: [^\n]+\n$/);
    }
    const { stderr } = await runCommand(['health', '--token-file', secret], env);
    expect(stderr).toBe('haproxy-suite: --token-file must name a file, but it cannot be read (ENOENT).\n');
  });

  it('sends a name that looks like an option or a path to the suite, which refuses it', async () => {
    for (const name of ['--help', '..', '../../x', 'a b\u001B[31m']) {
      const result = await runCommand(['domains', 'get', '--', name], env);
      expect(result, name).toMatchObject({ code: 1, stdout: '' });
      expect(result.stderr).toMatch(/^haproxy-suite: (?:validation_failed|domain_not_found): \P{Cc}+\n$/u);
    }
  });
});

describe('haproxy-suite with any answer', () => {
  it('shows control characters of an answer as text, in tables, in JSON and in errors', async () => {
    const evil = 'a\u001B]0;x\u0007\u009B31m\u202Eb\r\nc';
    const suite = await fake((_, { pathname }) =>
      pathname.endsWith('/health')
        ? { status: 503, body: { code: 'internal_error', status: 503, detail: evil } }
        : { body: page([{ ...domainOf(1), pool: evil, [evil]: evil }], null) },
    );
    const options = ['--url', suite.url];
    for (const argv of [
      ['domains', 'list'],
      ['domains', 'list', '--json'],
      ['domains', 'list', '--all'],
      ['health'],
    ]) {
      const { stdout, stderr } = await runCommand([...argv, ...options], {}, { columns: 200 });
      expect(`${stdout}${stderr}`, argv.join(' ')).not.toMatch(/(?!\n)[\p{Cc}\u202E]/u);
      expect(`${stdout}${stderr}`.toUpperCase()).toContain(String.raw`\U001B`);
    }
    const { stdout } = await runCommand(['domains', 'list', '--json', ...options]);
    expect(JSON.parse(stdout)).toMatchObject({ items: [{ pool: evil }] });
  });

  it('shows control characters of the state and of a refusal as text in apply', async () => {
    const evil = 'a\u001B]0;x\u0007\u009B31m\u202Eb';
    const suite = await fake((method) =>
      method === 'POST'
        ? { status: 409, body: { code: 'domain_exists', status: 409, detail: evil } }
        : {
            body: [
              { domain: `${evil}.example`, backend: `${evil}2`, servers: [] },
              { domain: 'a.example', backend: evil, servers: [] },
            ]
              .map((record) => JSON.stringify(record))
              .join('\n'),
            type: 'application/x-ndjson',
          },
    );
    const home = await makeHome(oldestHaproxy());
    onTestFinished(() => home.remove());
    const file = join(home.path, 'domains.json');
    // The first is refused, because of the backend; the second has a plan that the fake suite refuses.
    for (const domain of ['a.example', 'new.example'])
      for (const options of [[], ['--json'], ['--dry-run', '--json']]) {
        await writeFile(file, JSON.stringify({ domains: { [domain]: { servers: [{ ip: '10.0.0.1' }] } } }));
        const argv = ['apply', '--prune', ...options, '--url', suite.url, file];
        const { stdout, stderr } = await runCommand(argv, { NO_COLOR: '1' });
        const shown = `${domain} ${options.join(' ')}`;
        expect(`${stdout}${stderr}`, shown).not.toMatch(/(?!\n)[\p{Cc}\u202E]/u);
        for (const text of options.length > 0
          ? [stdout]
          : domain === 'a.example'
            ? [stderr]
            : [stdout, stderr])
          expect(text.toUpperCase(), shown).toContain(String.raw`\U001B`);
      }
  });

  it('shows colour and the columns that fit on a terminal only', async () => {
    const suite = await fake(() => ({
      body: page([{ domain: 'a.example', status: 'DOWN', note: 'x'.repeat(60) }], null),
    }));
    const argv = ['servers', 'health', '--url', suite.url];
    const terminal = await runCommand(argv, {}, { columns: 30 });
    expect(terminal.stdout).toContain('\u001B[31mDOWN\u001B[39m');
    expect(terminal.stdout).not.toContain('NOTE');
    expect(terminal.stderr).toContain('too narrow for note');
    for (const { stdout } of [
      await runCommand(argv),
      await runCommand(argv, { NO_COLOR: '1' }, { columns: 200 }),
    ])
      expect(stdout).not.toContain('\u001B');
  });

  it('names the columns of a table inside an answer that do not fit, and takes 80 columns if the terminal says 0', async () => {
    const suite = await fake(() => ({
      body: {
        domain: 'a.example',
        status: 'healthy',
        servers: [{ server: 's'.repeat(40), status: 'UP', last_check: 'y'.repeat(34), more: 'z' }],
      },
    }));
    const argv = ['domains', 'health', 'a.example', '--url', suite.url];
    for (const columns of [80, 0]) {
      const { stdout, stderr } = await runCommand(argv, {}, { columns });
      expect(stdout).toMatch(/SERVER +STATUS\n/);
      expect(stdout).not.toContain('LAST CHECK');
      expect(stderr).toContain('too narrow for last_check, more. --json has all');
    }
    const wide = await runCommand(argv, {}, { columns: 200 });
    expect(wide.stdout).toContain('LAST CHECK');
    expect(wide.stderr).toBe('');
  });

  it('follows the pages of 10,000 domains, in columns that fit the longest', async () => {
    const suite = await fake((_, { searchParams }) => {
      const start = Number(searchParams.get('cursor') ?? 0);
      const limit = Number(searchParams.get('limit'));
      const items = Array.from({ length: Math.min(limit, 10_000 - start) }, (_unused, n) => ({
        ...domainOf(start + n),
        ...(start + n === 9999 && { domain: 'a-longer-name-than-the-others.example.com', note: 'only here' }),
      }));
      const end = start + items.length;
      return { body: page(items, end < 10_000 ? String(end) : null, 10_000) };
    });
    const table = await runCommand(['domains', 'list', '--all', '--url', suite.url]);
    expect(table).toMatchObject({ code: 0, stderr: '' });
    const lines = table.stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(10_001);
    expect(lines[0]).toMatch(/^DOMAIN +POOL .*NOTE$/);
    // Each pool begins below its title.
    expect(new Set(lines.map((line) => line.search(/ (?:POOL|pool_)/)))).toHaveProperty('size', 1);
    const json = await runCommand(['domains', 'list', '--all', '--json', '--url', suite.url]);
    expect((JSON.parse(json.stdout) as { items: unknown[] }).items).toHaveLength(10_000);
    const first = await runCommand(['domains', 'list', '--limit', '2', '--url', suite.url]);
    expect(first.stderr).toContain('2 of 10000 are shown. --all shows all');
  });

  it('follows an operation in the background, with its progress on stderr', async () => {
    const id = '0d9c1f5e-7a52-4d0e-8c35-2f0f6a3f9d11';
    const messages = ['Ordering', 'Verifying: a.example', 'Done'].map((message, n) => ({
      at: `t${n}`,
      message,
    }));
    const suite = await fake((method, { pathname }, requests) => {
      if (method === 'POST')
        return { status: 202, body: { operation: { id, kind: 'issue_cert', progress: [] } } };
      expect(pathname).toBe(`/api/v1/operations/${id}`);
      const polls = requests.filter((request) => request.method === 'GET').length;
      const ended =
        polls >= 3 ? { status: 'succeeded', result: { domain: 'a.example' } } : { status: 'running' };
      return { body: { id, progress: messages.slice(0, polls), ...ended } };
    });
    const argv = ['certs', 'issue', 'a.example', '--url', suite.url];
    const followed = await runCommand([...argv, '--wait', '--json']);
    expect(followed).toEqual({
      code: 0,
      stdout: '{"domain":"a.example"}\n',
      stderr: '… Ordering\n… Verifying: a.example\n… Done\n',
    });
    expect(suite.requests[0]?.path).toBe('/api/v1/certificates?wait=false');
    const started = await runCommand(argv);
    expect(started.code).toBe(0);
    expect(started.stderr).toContain(`haproxy-suite operations get ${id}`);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'says that an operation in the background continues when %s ends the command',
    async (signal) => {
      const suite = await fake((method) =>
        method === 'POST'
          ? { status: 202, body: { operation: { id: 'the-id' } } }
          : { body: { status: 'running', progress: [{ at: 't', message: 'Ordering' }] } },
      );
      const argv = ['certs', 'issue', 'a.example', '--wait', '--url', suite.url];
      const command = spawn(process.execPath, [MAIN, ...argv], {
        cwd: '/',
        env: {},
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stderr = '';
      command.stderr.on('data', (chunk) => {
        stderr += String(chunk);
        if (stderr.includes('Ordering\n')) command.kill(signal);
      });
      const [code, endedBy] = (await once(command, 'close')) as [number | null, string | null];
      expect({ code, endedBy }).toEqual({ code: null, endedBy: signal });
      expect(stderr).toBe(
        '… Ordering\nThe operation continues in the suite. Follow it with haproxy-suite operations get the-id.\n',
      );
    },
  );

  it.each([
    [
      'failed',
      {
        error: {
          code: 'acme_failed',
          status: 502,
          detail: 'Use {haproxy_list_certs} or `GET /api/v1/domains`.',
        },
      },
      1,
    ],
    ['interrupted', {}, 4],
  ])('ends with an error if the operation has %s', async (status, more, code) => {
    const suite = await fake((method) =>
      method === 'POST'
        ? { status: 202, body: { operation: { id: 'x' } } }
        : { body: { status, progress: [], ...more } },
    );
    const result = await runCommand(['certs', 'issue', 'a.example', '--wait', '--url', suite.url]);
    expect(result).toMatchObject({ code, stdout: '' });
    if (code === 1)
      expect(result.stderr).toBe(
        'haproxy-suite: acme_failed: Use haproxy-suite certs list or `haproxy-suite domains list`.\n',
      );
  });

  it.each([
    [['domains', 'get', '--json'], {}, 2, 'usage', /^domains get needs <domain>/],
    [['--json', 'no-such'], {}, 2, 'usage', /no-such/],
    [['domains', 'list', '--json', '--limit', 'x'], {}, 2, 'usage', /--limit must be a whole number/],
    [['domains', 'list', '--json'], { MCP_PORT: 'banana' }, 2, 'usage', /^MCP_PORT="banana" is not allowed/],
    [['--json', 'apply', '--no-such', 'x'], {}, 2, 'usage', /^apply has no option "--no-such"/],
    [['--json', 'apply'], {}, 2, 'usage', /^Name a file/],
    [
      ['apply', '/dev/null', '--json'],
      { MCP_PORT: 'banana' },
      2,
      'usage',
      /^MCP_PORT="banana" is not allowed/,
    ],
    [['doctor', '--json', '--no-such'], {}, 2, 'usage', /^doctor has no option/],
    [['stop', '--json'], {}, 2, 'usage', /^stop has no option "--json"/],
    [['health', '--json', '--url', 'http://127.0.0.1:1'], {}, 3, 'unreachable', /127\.0\.0\.1:1/],
  ] as [string[], Record<string, string>, number, string, RegExp][])(
    'prints an error of %j as JSON',
    async (argv, env, exitCode, code, detail) => {
      const { code: ended, stdout, stderr } = await runCommand(argv, env);
      expect(ended).toBe(exitCode);
      expect(JSON.parse(stdout)).toMatchObject({ code, detail: expect.stringMatching(detail) as string });
      expect(stderr).toMatch(/^haproxy-suite: .+\n$/);
    },
  );

  it('prints one JSON document if an error comes after the result', async () => {
    const suite = await fake((_, { pathname }) =>
      pathname.endsWith('wait-healthy')
        ? { status: 404, body: { code: 'domain_not_found', status: 404, detail: 'gone' } }
        : { status: 201, body: { domain: 'a.example' } },
    );
    const argv = ['domains', 'add', 'a.example', '--ip', '10.0.0.1', '--wait', '--json', '--url', suite.url];
    const { code, stdout } = await runCommand(argv);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({ domain: 'a.example' });
  });

  it('ends with exit code 3 if the suite or HAProxy cannot be reached', async () => {
    const proxy = await fake(() => ({ status: 502, body: '<html>', type: 'text/html' }));
    const busy = await fake(() => ({
      status: 503,
      body: { code: 'haproxy_unavailable', status: 503, detail: 'No.' },
    }));
    for (const url of ['http://127.0.0.1:9', proxy.url, busy.url]) {
      const result = await runCommand(['health'], { HAPROXY_SUITE_URL: url });
      expect(result, url).toMatchObject({ code: 3, stdout: '' });
      expect(result.stderr).toMatch(/^haproxy-suite: [^\n]+\n$/);
    }
  });

  it('sends the token that is meant for the address, and the token of this machine to no other host', async () => {
    const suite = await fake(() => ({ body: {} }));
    const home = await makeHome(oldestHaproxy());
    onTestFinished(() => home.remove());
    await writeFile(home.file('mcp-token.env'), 'MCP_TOKEN=local-token-0123456789\n');
    const env = { HAPROXY_HOME: home.path };
    await runCommand(['health', '--url', `${suite.url}/mcp`], env);
    await runCommand(['health', '--url', suite.url.replace('127.0.0.1', '0.0.0.0')], env);
    await runCommand(['health', '--url', suite.url], { ...env, HAPROXY_SUITE_TOKEN: 'given' });
    expect(suite.requests.map(({ authorization, path }) => [authorization, path])).toEqual([
      ['Bearer local-token-0123456789', '/api/v1/health'],
      [undefined, '/api/v1/health'],
      ['Bearer given', '/api/v1/health'],
    ]);
  });

  it('understands each command of docs/cli.md', async () => {
    const text = await readFile(join(import.meta.dirname, '../../docs/cli.md'), 'utf8');
    const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block ?? '');
    const lines = blocks.flatMap((block) => block.split('\n')).map((line) => line.replace(/ +#.*/, ''));
    const commands = lines.flatMap((line) => /\bhaproxy-suite ([^|>)]*)/.exec(line)?.[1]?.trim() ?? []);
    expect(commands.length).toBeGreaterThan(20);
    const suite = await fake((_, { pathname }) =>
      pathname.endsWith('wait-healthy') ? { body: { status: 'healthy' } } : { body: {} },
    );
    for (const command of commands) {
      const words = command.split(/\s+/);
      // These read a file or stdin, which other tests do.
      if (words.some((word) => ['--json-body', '--pem', 'import'].includes(word))) continue;
      const result = await runCommand(words, { HAPROXY_SUITE_URL: suite.url });
      expect(result.code, `${command}: ${result.stderr}`).not.toBe(2);
    }
  });

  it.each([
    [
      ['doctor', '--'],
      ['--json', '--strict', '--domains', '--name-servers', '--help'],
    ],
    [
      ['apply', '--p'],
      ['--prune', '--prune-all'],
    ],
    [['install', '--m'], ['--managed']],
    [
      ['stop', '--'],
      ['--all', '--help'],
    ],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [['domain', 'wait'], ['wait-healthy']],
    [['--json', 'domains', 'wait'], ['wait-healthy']],
    [['--json', '--url', 'http://127.0.0.1:1', 'servers', 'set-st'], ['set-state']],
    [['--token-file', 'servers'], ['']],
    [['--j'], ['--json']],
    [
      ['--json', 'apply', '--p'],
      ['--prune', '--prune-all'],
    ],
    [['certificates', 'lo'], ['load']],
    [['server', 'set-state', 'a.example', '1', 'dr'], ['drain']],
  ])('completes %j', async (words, candidates) => {
    const { stdout } = await runCommand(['completion', '--words', ...words]);
    expect(stdout.trim().split('\n')).toEqual(candidates);
  });

  it.each([
    ['mcp', '--nope'],
    ['mcp', 'word'],
  ])('ends %j with exit code 2', async (...words) => {
    expect(await runCommand(words)).toMatchObject({ code: 2 });
  });

  it.each([
    [['--json', 'help', 'nope'], "Unknown command 'nope'. Run haproxy-suite --help"],
    [['help', 'domains', 'nope'], "Unknown command 'domains nope'. Run haproxy-suite domains --help"],
    [
      ['token'],
      'A command of haproxy-suite tokens is missing: add, list, revoke. Run haproxy-suite tokens --help',
    ],
    [['--json', 'install', '--nope'], 'install has no option "--nope".'],
  ])('says what is wrong with %j, as text and as JSON', async (words, text) => {
    const { code, stderr } = await runCommand(words);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`haproxy-suite: ${text}`)]);
    const { stdout } = await runCommand(words[0] === '--json' ? words : ['--json', ...words]);
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'usage',
      detail: expect.stringContaining(text) as string,
    });
  });

  it('install and uninstall with --json > print one object of what they do, or why not', async () => {
    const root = await mkdtemp(join(tmpdir(), 'hs-root-'));
    onTestFinished(() => rm(root, { recursive: true }));
    const json = async (...words: string[]) => {
      const result = await run(process.execPath, [MAIN, '--json', ...words, '--root', root]).catch(
        (error: unknown) => error as { code: number; stdout: string; stderr: string },
      );
      return { code: 0, ...result, value: JSON.parse(result.stdout) as object };
    };
    expect((await json('install', '--managed', '--dry-run')).value).toMatchObject({
      ...{ command: 'install', dry_run: true, applied: false },
    });
    expect((await json('uninstall')).value).toEqual({
      ...{ command: 'uninstall', dry_run: false, applied: false, steps: [], notes: [] },
      detail: 'Nothing to do: this command has installed nothing here.',
    });
    expect(await json('upgrade')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Nothing was changed.') as string,
      value: {
        ...{ command: 'upgrade', applied: false, code: 'failed', detail: 'Nothing was changed.' },
        errors: expect.arrayContaining([{ message: expect.any(String) as string }]) as unknown,
      },
    });
  });

  it('refuses an option that is given twice, because only the last one would count', async () => {
    const { code, stderr } = await runCommand(['domains', 'list', '--label', 'a=b', '--label', 'c=d']);
    expect([code, stderr]).toEqual([2, expect.stringContaining('--label is given twice')]);
  });

  it('shows each kind of help on stdout with exit code 0, and the version', async () => {
    for (const argv of [
      ['--help'],
      ['help'],
      ['help', 'domains'],
      ['domains', '--help'],
      ['mcp', '--help'],
      ['completion', '-h'],
    ]) {
      const result = await runCommand(argv);
      expect(result, argv.join(' ')).toMatchObject({ code: 0, stderr: '' });
      expect(result.stdout).toContain('Usage: haproxy-suite');
    }
    expect((await runCommand(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
