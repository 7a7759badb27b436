import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../../../test/kit/certificates/certificates.js';
import type { CertificateFile, CertificateFolder } from './certificate-folder.js';
import { ServedCertificates } from './served-certificates.service.js';
import type { TrialContexts } from './trial-contexts.js';

describe('ServedCertificates.tryWithin', () => {
  let folder: string;
  let silent: Server;
  let file: CertificateFile;
  let connections = 0;
  const open = new Set<Socket>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'served-'));
    const { certificate } = await makeCertificate(folder, { names: ['a.test'] });
    file = { path: '/certs/a.test.pem', domain: 'a.test', leaf: new X509Certificate(certificate) };
    silent = createServer((socket) => {
      connections += 1;
      open.add(socket);
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    for (const socket of open) socket.destroy();
    silent.close();
    await rm(folder, { recursive: true });
  });

  it('returns the reason within its time if HAProxy does not answer the handshake, and waits for it only once', async () => {
    const address = silent.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const bind = {
      frontend: 'web',
      line: 1,
      address: `127.0.0.1:${port}`,
      target: { host: '127.0.0.1', port },
    };
    const context = {
      id: 'one',
      binds: [{ ...bind, quic: false, verifiesClients: false, serves: 'folder' }],
    };
    const contexts = {
      open: () => Promise.resolve({ ...context, inHaproxy: () => undefined, pathOf: () => undefined }),
    };
    const served = new ServedCertificates(
      undefined as unknown as CertificateFolder,
      contexts as unknown as TrialContexts,
    );
    const late = { loaded: null, not_tried: ['HAProxy did not answer a TLS handshake within 20 ms'] };
    expect(await served.tryWithin(file, [file], 20)).toMatchObject(late);
    // While the first handshake waits for its own limit of seconds, no other one begins.
    for (let call = 0; call < 5; call += 1)
      expect(await served.tryWithin(file, [file], 20)).toMatchObject(late);
    expect(connections).toBeLessThanOrEqual(1);
  });
});
