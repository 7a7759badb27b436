import { X509Certificate } from 'node:crypto';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MadeCertificate, makeCertificate } from '../../../test/kit/certificates/certificates.js';
import { tempHome } from '../../../test/kit/temp-home.js';
import { chainOf } from './certificate-chain.js';
import { parseBundle } from './pem.js';

const run = promisify(execFile);

let home: Awaited<ReturnType<typeof tempHome>>;
const read = ({ certificate }: Pick<MadeCertificate, 'certificate'>) => new X509Certificate(certificate);

beforeAll(async () => {
  home = await tempHome();
});
afterAll(() => home.remove());

type Pair = Pick<MadeCertificate, 'certificate' | 'key'>;

/** A certificate for the name and key of `ca`, signed by `signer`. Without key identifiers, as some private CAs do. */
async function sign(name: string, ca: Pair, signer: Pair, subject = name): Promise<Pair> {
  const file = (part: string) => join(home.path, `${name}.${part}`);
  await writeFile(file('key'), ca.key);
  await writeFile(file('signer.pem'), signer.certificate);
  await writeFile(file('signer.key'), signer.key);
  await writeFile(
    file('ext'),
    'basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n',
  );
  await run('openssl', ['req', '-new', '-key', file('key'), '-subj', `/CN=${subject}`, '-out', file('csr')]);
  await run('openssl', [
    ...['x509', '-req', '-in', file('csr'), '-CA', file('signer.pem'), '-CAkey', file('signer.key')],
    ...['-set_serial', '0x77', '-days', '90', '-extfile', file('ext'), '-out', file('crt')],
  ]);
  return { certificate: await readFile(file('crt'), 'utf8'), key: ca.key };
}

describe('chainOf', () => {
  it('follows the signature if two issuers have the same name and no key identifiers', async () => {
    const root = await makeCertificate(home.path, { names: ['root.test'], isCa: true });
    const keys = [
      await makeCertificate(home.path, { names: ['k1.test'] }),
      await makeCertificate(home.path, { names: ['k2.test'] }),
    ] as const;
    const wrong = await sign('wrong', keys[0], root, 'Same name');
    const right = await sign('right', keys[1], root, 'Same name');
    const leafKey = await makeCertificate(home.path, { names: ['leaf.test'] });
    const leaf = await sign('leaf', leafKey, right);
    const others = [wrong, right, root].map(read);
    expect(chainOf(read(leaf), others).map(({ fingerprint }) => fingerprint)).toEqual([
      others[1]?.fingerprint,
      others[2]?.fingerprint,
    ]);
    const { pem } = parseBundle(leaf.certificate + wrong.certificate + right.certificate + leafKey.key);
    expect(pem.indexOf(right.certificate.trim())).toBeGreaterThan(0);
    expect(pem).not.toContain(wrong.certificate.trim());
  });

  it('takes the longest way through a cross-signed CA, and ends if CAs sign each other', async () => {
    const old = await makeCertificate(home.path, { names: ['old-root.test'], isCa: true });
    const young = await makeCertificate(home.path, { names: ['young-root.test'], isCa: true });
    const cross = await sign('cross', young, old, 'young-root.test');
    const back = await sign('back', old, young, 'old-root.test');
    const leaf = await makeCertificate(home.path, { names: ['leaf.test'], issuer: young });
    const chain = (certificates: Pick<MadeCertificate, 'certificate'>[]) =>
      chainOf(read(leaf), certificates.map(read)).map(({ subject, issuer }) => `${subject} < ${issuer}`);
    expect(chain([young, old, cross])).toEqual([
      'CN=young-root.test < CN=old-root.test',
      'CN=old-root.test < CN=old-root.test',
    ]);
    expect(chain([young])).toEqual(['CN=young-root.test < CN=young-root.test']);
    expect(chain([back, cross])).toHaveLength(2);
  });
});
