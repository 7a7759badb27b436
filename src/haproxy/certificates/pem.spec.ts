import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MadeCertificate, makeCertificate } from '../../../test/kit/certificates/certificates.js';
import { tempHome } from '../../../test/kit/temp-home.js';
import { factsOf, matchesDomain } from './certificate-facts.js';
import { leafOf, parseBundle } from './pem.js';

let home: Awaited<ReturnType<typeof tempHome>>;
let root: MadeCertificate;
let middle: MadeCertificate;
let leaf: MadeCertificate;
let other: MadeCertificate;

beforeAll(async () => {
  home = await tempHome();
  root = await makeCertificate(home.path, { names: ['root.test'], isCa: true });
  middle = await makeCertificate(home.path, { names: ['middle.test'], isCa: true, issuer: root });
  leaf = await makeCertificate(home.path, { names: ['example.com', '*.example.com'], issuer: middle });
  other = await makeCertificate(home.path, { names: ['other.test'], rsaBits: 2048 });
});
afterAll(() => home.remove());

const count = (text: string) => text.split('-----BEGIN CERTIFICATE-----').length - 1;

describe('parseBundle', () => {
  it('normalizes order, line endings and text around the blocks', () => {
    const unordered =
      `\uFEFFBag Attributes\r\n  friendlyName: x\r\n${leaf.key}\n\n${root.certificate}junk\n${middle.certificate}\n\n\n${leaf.certificate}`
        .replaceAll('\n', '\r\n')
        .replaceAll('\r\r', '\r');
    const { pem, warnings } = parseBundle(unordered);
    const certificates = leaf.certificate + middle.certificate + root.certificate;
    expect(pem.startsWith(certificates)).toBe(true);
    expect(pem).not.toMatch(/\r|\n\n|junk|Bag/);
    expect(warnings).toEqual([]);
    expect(parseBundle(pem).pem).toBe(pem);
  });

  it('ignores unrelated certificates, with a warning', () => {
    const { pem, warnings } = parseBundle(leaf.pem + middle.certificate + other.certificate);
    expect(count(pem)).toBe(2);
    expect(warnings).toEqual([expect.stringContaining('1 certificate(s)')]);
  });

  it('accepts a certificate that is expired or not yet valid, with a warning', () => {
    const day = 24 * 3600 * 1000;
    expect(parseBundle(leaf.pem, Date.now() + 100 * day).warnings).toEqual([
      expect.stringContaining('expired'),
    ]);
    expect(parseBundle(leaf.pem, Date.now() - day).warnings).toEqual([expect.stringContaining('valid only')]);
  });

  it.each([
    ['no certificate', () => leaf.key, 'has no certificate'],
    ['no key', () => leaf.certificate, 'has no private key'],
    ['two keys', () => leaf.pem + other.key, 'more than one private key'],
    ['a key that does not match', () => leaf.certificate + other.key, 'belongs to none'],
    ['an encrypted key', () => leaf.certificate + encryptedKey('pkcs8'), 'encrypted private key'],
    [
      'an encrypted key in the old form',
      () => leaf.certificate + encryptedKey('pkcs1'),
      'encrypted private key',
    ],
    ['a broken certificate', () => leaf.pem.replace(/\n[A-Za-z0-9+/]{64}\n/, '\n'), 'cannot be read'],
    ['a broken key', () => leaf.certificate + leaf.key.replace(/\n.{10}/, '\n'), 'cannot be read'],
    [
      'a block without an end line',
      () => `${leaf.pem}-----BEGIN CERTIFICATE-----\nAAAA`,
      'without an end line',
    ],
    [
      'a foreign block',
      () => `${leaf.pem}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----`,
      'X509 CRL',
    ],
    ['garbage', () => 'garbage', 'no PEM block'],
    ['nothing', () => '', 'no PEM block'],
    ['a megabyte', () => leaf.pem + 'x'.repeat(1024 * 1024), 'larger than 64 KB'],
  ])('rejects a text with %s, and does not quote the key', (_what, text, problem) => {
    const pem = text();
    try {
      parseBundle(pem);
      expect.fail('the text was accepted');
    } catch (error) {
      expect(error).toMatchObject({ code: 'validation_failed', detail: expect.stringContaining(problem) });
      for (const line of leaf.key.split('\n').slice(1, -2)) expect(String(error)).not.toContain(line);
    }
  });
});

describe('factsOf', () => {
  it('returns names, issuer, validity and key type', () => {
    const facts = factsOf(parseBundle(leaf.pem).leaf);
    expect(facts).toMatchObject({
      sans: ['example.com', '*.example.com'],
      issuer: 'CN=middle.test',
      key_type: 'ECDSA P-256',
      days_left: 89,
    });
    expect(facts.not_after).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/);
    expect(factsOf(parseBundle(other.pem).leaf).key_type).toBe('RSA 2048');
  });
});

describe('matchesDomain', () => {
  it('accepts the names of the certificate and the names that its wildcard covers', () => {
    const { leaf: certificate } = parseBundle(leaf.pem);
    expect(
      ['example.com', 'www.example.com', 'a.b.example.com', 'other.test'].map((name) =>
        matchesDomain(certificate, name),
      ),
    ).toEqual([true, true, false, false]);
  });
});

describe('leafOf', () => {
  it('finds the certificate in a text without a key', () => {
    expect(leafOf(`text\n${leaf.certificate}`)?.fingerprint).toBe(parseBundle(leaf.pem).leaf.fingerprint);
    expect(leafOf('garbage')).toBeUndefined();
  });
});

function encryptedKey(type: 'pkcs8' | 'pkcs1'): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return privateKey.export({ type, format: 'pem', cipher: 'aes-128-cbc', passphrase: 'secret' }).toString();
}
