import { spawnSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempHome } from '../kit/temp-home.js';

const ADMIN = 'admin-token-0123456789';
const READER = 'reader-token-0123456789';
const PORT = 8000;

/** Addresses of the namespace's loopback device: both ends of Tailscale's range, and addresses just outside of it. */
const OWN = ['100.64.0.1', '100.64.7.2', '100.127.255.254', '100.63.255.255', '100.128.0.1', '192.0.2.1'];

interface Case {
  from: string;
  to: string;
  headers?: readonly string[];
  host?: string;
  method?: string;
  status: number;
}

const bearer = (token: string) => [`Authorization: Bearer ${token}`];
const CASES: readonly Case[] = [
  { from: '100.64.0.1', to: '100.64.7.2', status: 200 },
  { from: '100.127.255.254', to: '100.64.7.2', status: 200 },
  { from: '100.64.7.2', to: '100.64.7.2', status: 200 },
  { from: '100.64.0.1', to: '100.64.7.2', host: '100.64.7.2:8000', status: 200 },
  // The change passes the access guard and fails later, because no HAProxy runs.
  { from: '100.64.0.1', to: '100.64.7.2', method: 'DELETE', status: 503 },
  { from: '100.64.0.1', to: '100.64.7.2', method: 'DELETE', headers: bearer(READER), status: 403 },
  // A wrong or revoked token gets no access, although the network alone would give it.
  { from: '100.64.0.1', to: '100.64.7.2', headers: bearer('revoked-token-0123456789'), status: 401 },
  { from: '100.64.0.1', to: '100.64.7.2', headers: ['Authorization: Basic eA=='], status: 401 },
  { from: '100.64.0.1', to: '100.64.7.2', host: 'evil.example', status: 403 },
  { from: '100.64.0.1', to: '100.64.7.2', headers: ['Origin: https://evil.example'], status: 403 },
  // Carrier NAT: either the client or this machine has such an address, but not both in one network.
  { from: '192.0.2.1', to: '100.64.7.2', status: 401 },
  { from: '100.64.0.1', to: '192.0.2.1', status: 401 },
  { from: '100.64.0.1', to: '127.0.0.1', status: 401 },
  { from: '127.0.0.1', to: '100.64.7.2', status: 401 },
  { from: '127.0.0.1', to: '127.0.0.1', status: 401 },
  { from: '100.63.255.255', to: '100.64.7.2', status: 401 },
  { from: '100.128.0.1', to: '100.64.7.2', status: 401 },
  { from: '192.0.2.1', to: '100.64.7.2', headers: ['X-Forwarded-For: 100.64.0.1'], status: 401 },
  { from: '192.0.2.1', to: '100.64.7.2', headers: ['Forwarded: for=100.64.0.1;by=100.64.7.2'], status: 401 },
  { from: '192.0.2.1', to: '100.64.7.2', host: '100.64.7.2', status: 401 },
  { from: '192.0.2.1', to: '100.64.7.2', headers: bearer(ADMIN), status: 200 },
  // Forwarded by a proxy on this machine, which connects from the same address that it connects to.
  { from: '100.64.7.2', to: '100.64.7.2', headers: ['X-Forwarded-For: 192.0.2.9'], status: 401 },
];

/** The command that runs another command in a new network namespace, or the reason why this machine allows none. */
function namespaceCommand(): { command: readonly string[] } | { reason: string } {
  const reasons: string[] = [];
  // Root may create a namespace. Other users may, if the kernel allows them a user namespace.
  for (const command of [
    ['unshare', '-n'],
    ['unshare', '-r', '-n'],
  ]) {
    const { status, stderr, error } = run([...command, 'ip', 'link', 'set', 'lo', 'up'], '');
    if (status === 0) return { command };
    reasons.push(`${command.join(' ')}: ${error?.message ?? stderr.trim()}`);
  }
  return { reason: reasons.join('; ') };
}

function run([file = '', ...args]: readonly string[], input: string) {
  return spawnSync(file, args, { input, encoding: 'utf8', timeout: 100_000 });
}

const namespace = namespaceCommand();

if ('reason' in namespace)
  // access-table.spec.ts tests the same rule with networks of 127.0.0.0/8, which need no privileges.
  it(`cannot run with 100.64.0.0/10 on this machine (${namespace.reason})`, () => {
    expect(namespace.reason).toMatch(/not permitted|denied|ENOENT|not found|no space/i);
  });
else
  describe('MCP_HOST and TRUSTED_NETWORKS', () => {
    it.each(['0.0.0.0', '::'])(
      'trusts a network only if both ends of the connection are in it: MCP_HOST=%s',
      async (host) => {
        const home = await tempHome();
        const tokens = join(home.path, 'conf/mcp-token.env');
        await writeFile(tokens, `MCP_TOKEN=${ADMIN}\nMCP_READONLY_TOKEN=${READER}\n`);
        await chmod(tokens, 0o600);
        const setUp = [
          'ip link set lo up',
          ...OWN.map((address) => `ip address add ${address}/32 dev lo`),
          'exec "$@"',
        ];
        const script = join(import.meta.dirname, 'in-namespace.mjs');
        const command = [...namespace.command, 'sh', '-ec', setUp.join('\n'), 'sh', process.execPath, script];
        const input = {
          // Without the setting, no address of this machine is trusted.
          ...inputOf(home.path, { MCP_HOST: host, TRUSTED_NETWORKS: '100.64.0.0/10' }),
          requests: CASES.map(({ from, to, headers = [], host = 'localhost', method = 'GET' }) => ({
            from,
            to,
            text: [
              method === 'GET'
                ? 'GET /api/v1/audit HTTP/1.1'
                : `${method} /api/v1/domains/a.example HTTP/1.1`,
              `Host: ${host}`,
              'Connection: close',
              ...headers,
              '',
              '',
            ].join('\r\n'),
          })),
        };
        const { stdout, stderr } = run(command, JSON.stringify(input));
        await home.remove();
        const answers = stdout === '' ? [stderr] : (JSON.parse(stdout) as string[]);
        expect(answers.map((answer) => answer.split(' ')[1])).toEqual(CASES.map(({ status }) => `${status}`));
      },
    );

    const { command } = namespace;

    /** Runs a scenario of in-tailnet.mjs. */
    async function scenario(mode: string, env: Record<string, string>): Promise<unknown> {
      const home = await tempHome();
      const tokens = join(home.path, 'conf/mcp-token.env');
      await writeFile(tokens, `MCP_TOKEN=${ADMIN}\n`, { mode: 0o600 });
      const script = join(import.meta.dirname, 'in-tailnet.mjs');
      const { stdout, stderr } = run(
        [...command, process.execPath, script],
        JSON.stringify({ ...inputOf(home.path, env), token: ADMIN, mode }),
      );
      await home.remove();
      return stdout === '' ? stderr : JSON.parse(stdout);
    }

    it('MCP_HOST=tailnet > listens on loopback and on what Tailscale brings, and trusts the peers but not this machine', async () => {
      expect(await scenario('tailnet', { MCP_HOST: 'tailnet' })).toEqual({
        before: 'ECONNREFUSED',
        tailnet: 'HTTP/1.1 200 OK',
        tailnet6: 'HTTP/1.1 200 OK',
        wrongToken: 'HTTP/1.1 401 Unauthorized',
        large: 'HTTP/1.1 422 Unprocessable Entity',
        lan: 'ECONNREFUSED',
        lanToTailnetAddress: 'ECONNRESET',
        spoofed: 'ECONNRESET',
        spoofedWithToken: 'ECONNRESET',
        own: 'HTTP/1.1 401 Unauthorized',
        own6: 'HTTP/1.1 401 Unauthorized',
        ownWithToken: 'HTTP/1.1 200 OK',
        loopback: 'HTTP/1.1 401 Unauthorized',
        moved: 'HTTP/1.1 200 OK',
        former: '',
        exitCode: 0,
      });
    });

    it('MCP_HOST=0.0.0.0 > trusts no address that a neighbour claims, and no carrier or cluster unless it is set', async () => {
      expect(await scenario('every', { MCP_HOST: '0.0.0.0' })).toEqual({
        tailnet: 'HTTP/1.1 200 OK',
        own: 'HTTP/1.1 401 Unauthorized',
        spoofed: 'HTTP/1.1 401 Unauthorized',
        lanWithToken: 'HTTP/1.1 200 OK',
        carrier: 'HTTP/1.1 401 Unauthorized',
        cluster: 'HTTP/1.1 401 Unauthorized',
        carrierToTailnetAddress: 'HTTP/1.1 401 Unauthorized',
        setOwn: 'HTTP/1.1 200 OK',
        setSpoofed: 'HTTP/1.1 401 Unauthorized',
        setCarrier: 'HTTP/1.1 200 OK',
        setCluster: 'HTTP/1.1 200 OK',
      });
    });
  });

/** The built suite and its environment, without HAProxy. */
function inputOf(home: string, env: Record<string, string>) {
  return {
    suite: join(import.meta.dirname, '../../dist/main.js'),
    port: PORT,
    env: {
      HAPROXY_HOME: home,
      HAPROXY_CONTROL: 'systemd',
      HAPROXY_SOCKET: join(home, 'run/none.sock'),
      MCP_PORT: String(PORT),
      LOG_LEVEL: 'ERROR',
      ...env,
    },
  };
}
