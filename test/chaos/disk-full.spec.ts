import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startBackend } from '../kit/backend.js';
import { haproxyVersions } from '../kit/haproxy-versions.js';
import { get } from '../kit/request.js';
import { smallDisk } from '../kit/small-disk.js';
import { makeHome, Suite } from '../kit/suite.js';
import { report } from './scale.js';

describe.each(haproxyVersions())('the disk is full, HAProxy $version', (haproxy) => {
  it('changes fail with storage_failed, service goes on, and changes succeed once there is space', async () => {
    const disk = await smallDisk();
    const one = await startBackend('one');
    const home = await makeHome(haproxy, {
      HAPROXY_SERVERS_FILE: join(disk.path, 'servers.json'),
      HAPROXY_MAP_FILE: join(disk.path, 'domains.map'),
      HAPROXY_POOLS_FILE: join(disk.path, 'pools.cfg'),
    });
    const suite = await Suite.start(home);
    const files = async () =>
      Promise.all(
        ['servers.json', 'domains.map', 'pools.cfg'].map((name) => readFile(join(disk.path, name), 'utf8')),
      );
    const server = { ip: '127.0.0.1', http_port: one.port };
    try {
      expect((await suite.api('POST', '/domains', { domain: 'a.example', ...server })).status).toBe(201);
      await disk.fill();
      const before = await files();
      let refused = 0;
      for (const [method, path, body] of [
        ['POST', '/domains', { domain: 'b.example', ...server }],
        ['POST', '/domains/a.example/servers', server],
        ['PUT', '/domains/a.example/servers/1/state', { state: 'maint' }],
        ['DELETE', '/domains/a.example', undefined],
      ] as const) {
        const answer = await suite.api(method, path, body);
        expect([answer.status, answer.body['code']], JSON.stringify(answer.body)).toEqual([
          507,
          'storage_failed',
        ]);
        refused += 1;
      }
      expect(await files()).toEqual(before);
      expect((await get(home.httpPort, 'a.example')).body).toBe('one');
      expect((await get(home.httpPort, 'b.example')).status).toBe(404);
      await disk.empty();
      expect((await suite.api('POST', '/domains', { domain: 'b.example', ...server })).status).toBe(201);
      expect((await get(home.httpPort, 'b.example')).body).toBe('one');
      report(haproxy.version, 'disk full', { refused, lost: 0 });
    } finally {
      await suite.stop();
      await one.close();
      await home.remove();
      await disk.remove();
    }
  });
});
