import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../settings/settings.js';
import { parseConfig } from './config-parser.js';
import { chooseRuntimeApi } from './runtime-api.js';

const HOME = '/opt/haproxy';
const PREFERRED = `${HOME}/run/haproxy.sock`;

/** The Runtime API of an installation with this haproxy.cfg; undefined: it has none. */
function runtimeOf(config: string | undefined, env: Record<string, string> = {}): unknown {
  return loadSettings(env, (file, preferred) =>
    config === undefined ? undefined : chooseRuntimeApi(parseConfig(config, file), preferred),
  ).runtime;
}

describe('the Runtime API without a setting', () => {
  it.each([
    ['a new installation', undefined, { path: PREFERRED }],
    [
      'the template of 0.1',
      'global\n stats socket 127.0.0.1:9999 level admin',
      { host: '127.0.0.1', port: 9999 },
    ],
    ['all addresses', 'global\n stats socket *:9999 level admin', { host: '127.0.0.1', port: 9999 }],
    ['IPv6', 'global\n stats socket ipv6@[::]:9999 v6only level admin', { host: '::1', port: 9999 }],
    ['a host name', 'global\n stats socket localhost:9999 level admin', { host: 'localhost', port: 9999 }],
    [
      'a unix socket beside the TCP port',
      `global\n stats socket :9999 level admin\n stats socket ${PREFERRED} mode 600 level admin`,
      { path: PREFERRED },
    ],
    [
      "Debian's haproxy.cfg",
      'global\n stats socket /run/haproxy/admin.sock mode 660 level admin',
      { path: '/run/haproxy/admin.sock' },
    ],
    ['the level operator', 'global\n stats socket :9999 level operator', { path: PREFERRED }],
    ['no level', 'global\n stats socket :9999', { path: PREFERRED }],
    ['an abstract socket', 'global\n stats socket abns@x level admin', { path: PREFERRED }],
    ['no stats socket', 'global\n maxconn 10', { path: PREFERRED }],
    [
      'a variable as the host',
      'global\n stats socket "${IP}":9999 level admin',
      { host: 'localhost', port: 9999 },
    ],
    [
      'a variable beside a unix socket',
      'global\n stats socket "${API}" level admin\n stats socket /x.sock level admin',
      { path: '/x.sock' },
    ],
  ])('%s', (_, config, runtime) => {
    expect(runtimeOf(config)).toEqual(runtime);
  });

  it('a setting has priority over haproxy.cfg', () => {
    const config = `global\n stats socket ${PREFERRED} level admin`;
    expect(runtimeOf(config, { HAPROXY_PORT: '7' })).toEqual({ host: 'localhost', port: 7 });
    expect(runtimeOf(config, { HAPROXY_HOST: 'h' })).toEqual({ host: 'h', port: 9999 });
    expect(runtimeOf(config, { HAPROXY_SOCKET: '/x.sock' })).toEqual({ path: '/x.sock' });
  });

  it.each(['managed', 'master', 'systemd', 'podman'])(
    'HAPROXY_CONTROL=%s: is the unix socket of a new installation, and what an existing haproxy.cfg declares',
    (control) => {
      const env = { HAPROXY_CONTROL: control };
      const former = 'global\n stats socket 127.0.0.1:9999 level admin';
      expect(runtimeOf(undefined, env)).toEqual({ path: PREFERRED });
      expect(runtimeOf('global\n maxconn 10', env)).toEqual({ path: PREFERRED });
      expect(runtimeOf(former, env)).toEqual({ host: '127.0.0.1', port: 9999 });
      // Version 0.1 asked HAProxy there if no setting said otherwise. Only HAProxy has the value of the variable.
      expect(runtimeOf('global\n stats socket "${API}" level admin', env)).toEqual({
        host: 'localhost',
        port: 9999,
      });
    },
  );

  it('is TCP if HAPROXY_HOME is too long for a unix socket', () => {
    // The master socket still fits, so the suite starts.
    const home = `/${'h'.repeat(92 - '/run/master.sock'.length - 1)}`;
    expect(runtimeOf(undefined, { HAPROXY_HOME: home })).toEqual({ host: 'localhost', port: 9999 });
    expect(() => runtimeOf(undefined, { HAPROXY_HOME: `${home}h` })).toThrow(/HAPROXY_HOME.*at most 92/);
  });
});
