import { describe, expect, it } from 'vitest';
import { entryOfToken, formatTokensFile, parseTokensFile, TokensFileError } from './tokens-file.js';

const SHA = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);
const parse = (...tokens: unknown[]) => parseTokensFile(JSON.stringify({ tokens }));

describe('parseTokensFile', () => {
  it('reads tokens with and without an expiry, and writes the same again', () => {
    const entries = [
      { name: 'ci', sha256: SHA, role: 'operate' },
      { name: 'a.b_c-1', sha256: OTHER, role: 'read', expires_at: '2027-01-31T12:00:00.000Z' },
      { name: 'limited', sha256: 'c'.repeat(64), role: 'operate', domains: ['*.a.test'], max_domains: 3 },
    ];
    const { tokens, unusable } = parse(...entries);
    expect(unusable).toEqual([]);
    expect(tokens).toEqual(
      [
        { name: 'ci', sha256: SHA, role: 'operate', expiresAt: undefined },
        { name: 'a.b_c-1', sha256: OTHER, role: 'read', expiresAt: Date.UTC(2027, 0, 31, 12) },
        {
          name: 'limited',
          sha256: 'c'.repeat(64),
          role: 'operate',
          expiresAt: undefined,
          scope: { fields: { domains: ['*.a.test'], max_domains: 3 } },
        },
      ].map(
        (token) =>
          expect.objectContaining(
            'scope' in token ? { ...token, scope: expect.objectContaining(token.scope) as unknown } : token,
          ) as unknown,
      ),
    );
    expect(tokens.map(entryOfToken)).toEqual(entries);
    expect(parseTokensFile(formatTokensFile(tokens.map(entryOfToken))).tokens).toEqual(tokens);
    expect(parseTokensFile(formatTokensFile([]))).toEqual({ tokens: [], unusable: [], entries: [] });
  });

  it.each([
    ['a field that could limit it', { paths: ['/api'] }, /does not know its field "paths"/],
    ['a limit of a later version', { max_servers: 3 }, /does not know its field "max_servers"/],
    ['no domains', { domains: [] }, /its domains must have 1 to 100 entries/],
    ['a domain that is none', { domains: ['*'] }, /its domains\.0 must be one of domains/],
    ['wildcards of no domains', { wildcards: true }, /its wildcards says which of domains/],
    ['a network that is none', { servers: ['10.0.0.0/99'] }, /its servers\.0 must be a network/],
    ['a limit that is a text', { max_domains: '3' }, /its max_domains must be a whole number/],
    ['a limit that is null', { max_certificates: null }, /its max_certificates must be/],
    ['a field called __proto__', JSON.parse('{"__proto__":{"role":"read"}}') as object, /__proto__/],
    ['a role of another kind', { role: 'root' }, /role must be one of read, operate, admin/],
    ['a list of roles', { role: ['admin'] }, /role must be/],
    ['no role', { role: undefined }, /role must be/],
    ['a short digest', { sha256: 'abc' }, /sha256 must be 64/],
    ['a secret instead of its digest', { sha256: 'hst_very-secret' }, /sha256 must be 64/],
    ['an expiry that is a number', { expires_at: 4_000_000_000 }, /expires_at must be a date/],
    ['an expiry without a time zone', { expires_at: '2027-01-31T12:00:00' }, /expires_at must be a date/],
    ['an expiry that is null', { expires_at: null }, /expires_at must be a date/],
    ['a day that does not exist', { expires_at: '2099-02-31T12:00:00Z' }, /expires_at must be a date/],
    ['a month that does not exist', { expires_at: '2027-13-31T12:00:00Z' }, /expires_at must be a date/],
    ['a reserved name', { name: 'admin' }, /name must be/],
    ['the name of the read-only token', { name: 'readonly' }, /name must be/],
    ['a name in capitals', { name: 'CI' }, /name must be/],
    ['a name with a line break', { name: 'ci\n' }, /name must be/],
    ['a name like a network', { name: '100.64.0.0/10 x' }, /name must be/],
    ['an empty name', { name: '' }, /name must be/],
    ['a name of 64 characters', { name: 'x'.repeat(64) }, /name must be/],
    ['no name', { name: undefined }, /name must be/],
  ])('gives no access to a token with %s, and keeps the others', (_, change, reason) => {
    const broken = { name: 'ci', sha256: SHA, role: 'admin', ...change };
    // JSON.stringify leaves __proto__ out of an object that was spread.
    const text = JSON.stringify({ tokens: [broken, { name: 'other', sha256: OTHER, role: 'read' }] });
    const withProto = '__proto__' in change && Object.hasOwn(change, '__proto__');
    const file = parseTokensFile(
      withProto ? text.replace('"role":"admin"', '"role":"admin","__proto__":{}') : text,
    );
    expect(file.tokens.map(({ name }) => name)).toEqual(['other']);
    expect(file.unusable).toHaveLength(1);
    expect(file.unusable[0]?.reason).toMatch(reason);
    expect(JSON.stringify(file.unusable)).not.toContain('very-secret');
    expect(file.entries).toHaveLength(2);
  });

  it('gives no access to two tokens with one name, or with one digest in any case', () => {
    const one = { name: 'ci', sha256: SHA, role: 'admin' };
    expect(parse(one, { ...one, sha256: OTHER }).tokens).toEqual([]);
    const twice = parse(one, { ...one, name: 'cd', sha256: SHA.toUpperCase() });
    expect(twice.tokens).toEqual([]);
    expect(twice.unusable.map(({ reason }) => reason)).toEqual(Array(2).fill('another token has its sha256'));
    expect(parse(null, [], 'hst_very-secret', 5).unusable.map(({ name }) => name)).toEqual([
      'number 1',
      'number 2',
      'number 3',
      'number 4',
    ]);
  });

  it('refuses an entry that has a key twice, because a reader may see the other value', () => {
    const text = (entry: string) =>
      `{"tokens": [${entry}, {"name":"ok","sha256":"${'b'.repeat(64)}","role":"read"}]}`;
    const file = parseTokensFile(text(`{"name":"ci","sha256":"${SHA}","role":"read","role":"admin"}`));
    expect(file.tokens.map(({ name }) => name)).toEqual(['ok']);
    expect(file.unusable).toEqual([{ name: 'ci', reason: 'it has the key "role" twice' }]);
    expect(() => parseTokensFile('{"tokens": [], "tokens": []}')).toThrow('It has the key tokens twice.');
  });

  it.each([
    ['nothing', '', /Line 1 is not valid JSON/],
    ['half a file', '{\n"tokens": [{"name": "hst_very-secret"', /Line \d is not valid JSON/],
    ['a list', '[]', /not a JSON object/],
    ['another list', '{"tokens": {}}', /no list tokens/],
    ['another key', '{"tokens": [], "hst_very-secret": 1}', /other keys than tokens/],
    ['too many tokens', JSON.stringify({ tokens: Array(10_001).fill(1) }), /more than 10000 tokens/],
  ])('refuses %s as a whole, says what to do, and shows no content', (_, text, message) => {
    const failure = (() => {
      try {
        parseTokensFile(text);
      } catch (error) {
        return error;
      }
      return undefined;
    })();
    expect(failure).toBeInstanceOf(TokensFileError);
    expect((failure as Error).message).toMatch(message);
    expect((failure as Error).message).toMatch(/Repair it, or delete it to revoke all its tokens\.$/);
    expect((failure as Error).message).not.toMatch(/very-secret|\n/);
  });
});
