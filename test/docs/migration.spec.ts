import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { askRuntimeApi } from '../kit/ask-runtime-api.js';
import { makeCertificate } from '../kit/certificates/certificates.js';
import { DocHost, shellBlocks } from './doc-host.js';

const page = () => readFile(join(import.meta.dirname, '../../docs/migration.md'), 'utf8');

/** A configuration that a person wrote. The rule about intern.example.com depends on the address of the visitor. */
const HAND_WRITTEN_CFG = `global
    maxconn 2000
defaults
    mode http
    log global
    timeout connect 5s
    timeout client 1m
    timeout server 1m

frontend web
    bind *:80
    acl shop hdr(host) -i shop.example.com
    acl shop hdr(host) -i www.shop.example.com
    use_backend shop if shop
    use_backend preview if { hdr_end(host) -i .preview.example.com }
    use_backend intern if { hdr(host) -i intern.example.com } { src 10.0.0.0/8 }

backend shop
    server s1 10.0.0.1:8080 check
    server s2 10.0.0.2:8080 check weight 3
backend preview
    server p1 10.0.0.3:8080 check
backend intern
    server i1 10.0.0.4:8080 check
`;

/** A configuration of pools with free slots, which scripts fill through the Runtime API on localhost:9999. */
const POOLS_CFG = `global
    stats socket ipv4@127.0.0.1:9999 level admin
    stats timeout 2m
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend web
    bind 127.0.0.1:80
    http-request set-var(txn.host) req.hdr(host),field(1,:),lower
    http-request set-var(txn.pool) var(txn.host),map_str(/opt/haproxy/conf/domains.map)
    use_backend %[var(txn.pool)] if { var(txn.pool) -m found }
${[1, 2, 3]
  .map(
    (pool) => `backend pool_${pool}
    balance roundrobin
    server pool_${pool}_1 ${pool === 1 ? '10.0.0.1:8080 check' : '0.0.0.0:80 disabled'}
    server pool_${pool}_2 0.0.0.0:80 disabled
`,
  )
  .join('')}backend be_static
    server one 10.0.0.4:8080 check
`;

const DATAPLANE_CFG = `# _version=7
global
  daemon
  master-worker
defaults http
  mode http
  timeout connect 5s
frontend main from http
  bind :80
  use_backend %[req.hdr(host),lower,map(/etc/haproxy/maps/hosts.map)]
backend shop from http
  balance roundrobin
  server s1 10.0.0.1:8080 check weight 100
  server s2 10.0.0.2:8080 check weight 50
backend tenant from http
  server s1 10.0.0.3:8080 check
program api
  command dataplaneapi -f /etc/haproxy/dataplaneapi.yml
`;

/** The tables of Nginx Proxy Manager that the page reads, with the columns that its migrations give them. */
const NPM_SQL = `
CREATE TABLE proxy_host (id INTEGER PRIMARY KEY AUTOINCREMENT, created_on DATETIME NOT NULL, modified_on DATETIME NOT NULL,
  owner_user_id INTEGER NOT NULL, is_deleted INTEGER NOT NULL DEFAULT 0, domain_names JSON NOT NULL, forward_host VARCHAR(255) NOT NULL,
  forward_port INTEGER NOT NULL, access_list_id INTEGER NOT NULL DEFAULT 0, certificate_id INTEGER NOT NULL DEFAULT 0,
  ssl_forced INTEGER NOT NULL DEFAULT 0, caching_enabled INTEGER NOT NULL DEFAULT 0, block_exploits INTEGER NOT NULL DEFAULT 0,
  advanced_config TEXT NOT NULL DEFAULT '', meta JSON NOT NULL, allow_websocket_upgrade INTEGER NOT NULL DEFAULT 0,
  http2_support INTEGER NOT NULL DEFAULT 0, forward_scheme VARCHAR(255) NOT NULL DEFAULT 'http', enabled INTEGER NOT NULL DEFAULT 1,
  locations JSON, hsts_enabled INTEGER NOT NULL DEFAULT 0, hsts_subdomains INTEGER NOT NULL DEFAULT 0);
CREATE TABLE certificate (id INTEGER PRIMARY KEY AUTOINCREMENT, created_on DATETIME NOT NULL, modified_on DATETIME NOT NULL,
  owner_user_id INTEGER NOT NULL, is_deleted INTEGER NOT NULL DEFAULT 0, provider VARCHAR(255) NOT NULL, nice_name VARCHAR(255) NOT NULL
  DEFAULT '', domain_names JSON NOT NULL, expires_on DATETIME NOT NULL, meta JSON NOT NULL);
INSERT INTO proxy_host (created_on, modified_on, owner_user_id, is_deleted, domain_names, forward_host, forward_port, meta, enabled) VALUES
  ('2026-01-01', '2026-01-01', 1, 0, '["blog.example.com","www.blog.example.com"]', '10.0.0.1', 8080, '{}', 1),
  ('2026-01-01', '2026-01-01', 1, 0, '["app.example.com"]', 'app', 3000, '{}', 1),
  ('2026-01-01', '2026-01-01', 1, 1, '["deleted.example.com"]', '10.0.0.2', 8080, '{}', 1),
  ('2026-01-01', '2026-01-01', 1, 0, '["disabled.example.com"]', '10.0.0.2', 8080, '{}', 0);
INSERT INTO certificate (created_on, modified_on, owner_user_id, provider, nice_name, domain_names, expires_on, meta) VALUES
  ('2026-01-01', '2026-01-01', 1, 'letsencrypt', 'blog.example.com', '["blog.example.com"]', '2026-04-01', '{}');
`;

describe('docs/migration.md', () => {
  let host: DocHost | undefined;
  afterEach(async () => {
    await host?.remove();
    host = undefined;
  });

  /** The blocks of a section, after those that define what all of them use. */
  const blocksOf = async (heading: string) => {
    const text = await page();
    const shared = /```text\n(.*?)```/s.exec(text)?.[1] ?? '';
    return [{ line: 0, text: shared, expected: [] }, ...shellBlocks(text, heading)];
  };

  /** A host on which only the former HAProxy runs. */
  const withPools = async () => {
    const made = await DocHost.create({
      HAPROXY_SOCKET: '',
      HAPROXY_HOST: '127.0.0.1',
      HAPROXY_PORT: '9999',
    });
    await writeFile(join(made.home, 'conf/haproxy.cfg'), made.here(POOLS_CFG));
    const map = 'shop.example.com pool_1\nstatic.example.com be_static\n';
    await writeFile(join(made.home, 'conf/domains.map'), map);
    await made.must('systemctl start haproxy');
    return made;
  };

  it('from pools and maps run by scripts: everything is adopted and served, and a new site is added', async () => {
    host = await withPools();
    await host.run(shellBlocks(await page(), 'From pools and maps run by scripts'));
  });

  it('from the predecessor in Python: the sites are served, and the MCP tools have the same names', async () => {
    host = await withPools();
    await host.run(shellBlocks(await page(), 'From the predecessor in Python'));
  });

  it('from a hand-written haproxy.cfg: its sites are served, and what is not carried is in the list', async () => {
    host = await DocHost.create();
    const etc = join(host.folder, 'etc/haproxy');
    await mkdir(etc, { recursive: true });
    await writeFile(join(etc, 'haproxy.cfg'), host.here(HAND_WRITTEN_CFG));
    const command = join(host.folder, 'bin/haproxy-suite');
    const main = join(host.folder, 'opt/haproxy-suite/dist/main.js');
    await writeFile(command, `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`, { mode: 0o755 });
    await host.start();
    await host.run(await blocksOf('From a hand-written haproxy.cfg'));
  });

  it('from the Data Plane API: its haproxy.cfg and map become sites that HAProxy serves', async () => {
    host = await DocHost.create();
    const etc = join(host.folder, 'etc/haproxy');
    await mkdir(join(etc, 'maps'), { recursive: true });
    await writeFile(join(etc, 'haproxy.cfg'), host.here(DATAPLANE_CFG));
    await writeFile(
      join(etc, 'maps/hosts.map'),
      '# hosts\nshop.example.com shop\nwww.shop.example.com shop\n.tenant.example tenant\n',
    );
    await host.start();
    await host.run(await blocksOf('From the Data Plane API'));
    // What the page says of a free slot of the suite's own pools.
    const socket = join(host.home, 'run/haproxy.sock');
    expect(await askRuntimeApi(socket, 'set server pool_1/pool_1_9 addr 10.0.0.1 port 80')).toContain(
      'No such server',
    );
  });

  it('from Nginx Proxy Manager: its database and certificates become sites that HAProxy serves', async () => {
    host = await DocHost.create();
    const npm = join(host.folder, 'var/lib/npm');
    const live = join(npm, 'letsencrypt/live/npm-1');
    await mkdir(join(npm, 'data'), { recursive: true });
    await mkdir(live, { recursive: true });
    await writeFile(join(npm, 'npm.sql'), host.here(NPM_SQL));
    await host.must(`sqlite3 ${join(npm, 'data/database.sqlite')} < ${join(npm, 'npm.sql')}`);
    const { certificate, key } = await makeCertificate(npm, { names: ['blog.example.com'] });
    await writeFile(join(live, 'fullchain.pem'), certificate);
    await writeFile(join(live, 'privkey.pem'), key);
    await host.start();
    await host.run(await blocksOf('From Nginx Proxy Manager'));
  });

  it('names only routes that exist', async () => {
    const { paths } = JSON.parse(
      await readFile(join(import.meta.dirname, '../../openapi/openapi.json'), 'utf8'),
    ) as { paths: Record<string, Record<string, unknown>> };
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace('/api/v1', '')}`),
    );
    const known = new Set(routes);
    const named = [...(await page()).matchAll(/`((?:GET|POST|PUT|DELETE) \/[\w/{}-]+)/g)].map(
      ([, route]) => route,
    );
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((route) => route !== undefined && !known.has(route))).toEqual([]);
  });
});
