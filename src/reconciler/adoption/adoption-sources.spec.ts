import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../haproxy/config/config-parser.js';
import { declaredPools } from '../../haproxy/config/config-servers.js';
import { HaproxyRuntimeService } from '../../haproxy/haproxy-runtime.service.js';
import { loadSettings } from '../../settings/settings.js';
import { adopt } from './adopt.js';
import { findRouting } from './adoption-sources.js';

const CONFIG = `defaults pools
  mode http
frontend pool_9
backend pool_1 from pools   # of the operator
  server pool_1_1 0.0.0.0:80 check disabled
  server pool_1_2 [2001:db8::7]:8080 weight 5 check inter 2s
  server pool_1_3 app.internal:80 check
listen pool_2
	server pool_2_1 10.0.0.2:80 disabled
backend other
  server pool_1_4 10.0.0.4:80
`;
const DUMP = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 pool_1 1 pool_1_1 10.0.0.1 2 0 9 1 58 1 0 0 2 0 0 0 - 8081 - 0 0 - - 0
`;

describe('findRouting without a running HAProxy', () => {
  let home: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'hs-'));
    await mkdir(join(home, 'conf'));
    await mkdir(join(home, 'data'));
  });

  afterEach(async () => {
    await rm(home, { recursive: true });
  });

  const find = (control: string, map: string) => {
    const settings = loadSettings({
      HAPROXY_HOME: home,
      HAPROXY_SOCKET: join(home, 'no.sock'),
      HAPROXY_CONTROL: control,
    });
    return findRouting(new HaproxyRuntimeService(settings), settings, map);
  };

  it('reads the files in managed mode', async () => {
    await writeFile(join(home, 'conf/haproxy.cfg'), CONFIG);
    await writeFile(join(home, 'data/servers.state'), DUMP);
    const map = 'a.example pool_1\nb.example pool_2\n';
    const { source, routing } = await find('managed', map);
    expect(source).toContain('files');
    const { state } = adopt(routing, { mapText: map });
    expect(state.pool('pool_1')).toEqual({
      domains: ['a.example'],
      servers: new Map([
        [1, { ip: '10.0.0.1', http_port: 8081, weight: 9, state: 'ready' }],
        [2, { ip: '2001:db8::7', http_port: 8080, weight: 5, state: 'ready' }],
      ]),
    });
    expect(state.pool('pool_2')?.servers.get(1)).toMatchObject({ ip: '10.0.0.2', state: 'maint' });
  });

  it('finds nothing without files', async () => {
    const { routing } = await find('managed', '');
    expect(adopt(routing).state.pools.size).toBe(0);
  });

  it('throws haproxy_unavailable in the other modes', async () => {
    await expect(find('master', 'a.example pool_1\n')).rejects.toMatchObject({ code: 'haproxy_unavailable' });
  });
});

describe('declaredPools', () => {
  it('returns backend and listen sections with pool names', () => {
    expect(declaredPools(parseConfig(CONFIG, 'haproxy.cfg'))).toEqual(new Set(['pool_1', 'pool_2']));
    expect(declaredPools(parseConfig('# backend pool_1\n  use_backend pool_2\n', 'h.cfg'))).toEqual(
      new Set(),
    );
  });
});
