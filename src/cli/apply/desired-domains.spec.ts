import { describe, expect, it } from 'vitest';
import { parseDesiredDomains } from './desired-domains.js';

/** The problems of one file as `line:column message`. */
function problems(text: string): string[] {
  return parseDesiredDomains([{ name: 'f.yaml', text }]).problems.map(
    ({ line, column, message }) => `${line}:${column} ${message}`,
  );
}

function inputs(...texts: string[]): object[] {
  const files = texts.map((text, index) => ({ name: `f${index}.yaml`, text }));
  const { records, problems: found } = parseDesiredDomains(files);
  expect(found).toEqual([]);
  return records.map(({ input }) => input);
}

describe('parseDesiredDomains', () => {
  it('reads YAML, several documents, anchors and merge keys, and names of any script', () => {
    const text = `
defaults: &none
---
domains:
  Example.COM.:
    servers: &web
      - {ip: 10.0.0.1, http_port: 8080, weight: 3, state: drain}
      - ip: "2001:DB8::1"
  bücher.example: {ip: 10.0.0.2}
  '*.example.com': {share_with: example.com}
  no:
---
domains:
  copy.example: &copy {servers: *web}
  merged.example: {<<: *copy}
  own.example: {backend: be_own}
  7.example: {servers: []}
`.replace('defaults: &none\n', '');
    const servers = [
      { ip: '10.0.0.1', http_port: 8080, weight: 3, state: 'drain' },
      { ip: '2001:db8::1', http_port: 80, weight: 1, state: 'ready' },
    ];
    const [first, second] = text.split('---\n').filter((part) => part.trim() !== '') as [string, string];
    // An anchor is valid in its document only.
    expect(inputs(`${first}---\n${second.replace('*web', '[{ip: 10.0.0.1}]')}`)).toEqual([
      { domain: 'example.com', servers },
      { domain: 'xn--bcher-kva.example', ip: '10.0.0.2' },
      { domain: '*.example.com', share_with: 'example.com' },
      { domain: 'no' },
      { domain: 'copy.example', servers: [{ ...servers[0], http_port: 80, weight: 1, state: 'ready' }] },
      { domain: 'merged.example', servers: [{ ...servers[0], http_port: 80, weight: 1, state: 'ready' }] },
      { domain: 'own.example', backend: 'be_own' },
      { domain: '7.example', servers: [] },
    ]);
  });

  it('reads JSON, also with tabs, and empty files', () => {
    expect(
      inputs(
        '{\n\t"domains": {\n\t\t"a.test": {\n\t\t\t"ip": "::1"\n\t\t}\n\t}\n}\n',
        '',
        '# nothing\n',
        'domains:\n',
      ),
    ).toEqual([{ domain: 'a.test', ip: '::1' }]);
  });

  it.each([
    [
      'an unknown key',
      'domains:\n  a.test:\n    ipp: 10.0.0.1\n',
      '3:5 a.test: "ipp" is not a field here; the fields are',
    ],
    [
      'a key of an import line',
      'domains:\n  a.test:\n    absent: true\n',
      '3:5 a.test: "absent" is not a field here',
    ],
    [
      'a slot',
      'domains:\n  a.test:\n    servers:\n      - {slot: 1, ip: 10.0.0.1}\n',
      '4:10 a.test: "slot" is not',
    ],
    [
      'a wrong address',
      'domains:\n  a.test:\n    servers:\n    - ip: 10.0.0.1\n    - ip: host\n',
      '5:7 a.test: servers[1].ip must be',
    ],
    [
      'a port as text',
      'domains:\n  a.test: {ip: 10.0.0.1, http_port: "80"}\n',
      '2:26 a.test: http_port must be a whole number',
    ],
    [
      'a weight that is a word',
      'domains:\n  a.test: {servers: [{ip: 10.0.0.1, weight: yes}]}\n',
      '2:37 a.test: servers[0].weight must be',
    ],
    [
      'two ways to say it',
      'domains:\n  a.test: {ip: 10.0.0.1, share_with: b.test}\n',
      '2:12 a.test: ip is not allowed together with share_with',
    ],
    [
      'a server given twice',
      'domains:\n  a.test:\n    servers:\n    - ip: 10.0.0.1\n    - ip: 10.0.0.1\n',
      '5:7 a.test: servers[1] names 10.0.0.1:80 a second time',
    ],
    ['a name that is no domain', 'domains:\n  a_b.-x: {}\n', '2:3 a_b.-x: domain must be'],
    ['an empty share_with', 'domains:\n  a.test: {share_with: ""}\n', '2:12 a.test: share_with must be'],
    ['a number as a name', 'domains:\n  1.5: {ip: 10.0.0.1}\n', '2:3 1.5 is not a text: write it in quotes'],
    [
      'a boolean as a name',
      'domains:\n  true: {ip: 10.0.0.1}\n',
      '2:3 true is not a text: write it in quotes',
    ],
    ['an empty name', 'domains:\n  ~: {ip: 10.0.0.1}\n', '2:3 "~" is not a text: write it in quotes'],
    [
      'the same key twice',
      'domains:\n  a.test: {}\n  b.test: {}\n  a.test: {}\n',
      '4:3 a.test is given twice',
    ],
    [
      'the same field twice',
      'domains:\n  a.test:\n    ip: 10.0.0.1\n    ip: 10.0.0.2\n',
      '4:5 ip is given twice',
    ],
    [
      'one domain in two spellings',
      'domains:\n  a.test: {}\n  A.TEST.: {}\n',
      '3:3 A.TEST. is already in f.yaml, line 2',
    ],
    [
      'a tab as indentation',
      'domains:\n\ta.test: {}\n',
      '2:1 tab characters must not be used in indentation',
    ],
    ['a list', '- a.test\n', '1:1 the file must have the key domains'],
    ['a text', 'a.test', '1:1 the file must have the key domains'],
    ['another root key', 'domain:\n  a.test: {}\n', '1:1 domain is not a key here; the only key is domains'],
    ['a list of domains', 'domains: [a.test]\n', '1:1 domains must be an object'],
    [
      'a domain that is a text',
      'domains:\n  a.test: 10.0.0.1\n',
      '2:3 a.test: the value must be a JSON object',
    ],
    ['an unknown tag', 'domains: !!js/function x\n', '1:10 unknown scalar tag'],
    ['an anchor that is missing', 'domains:\n  a.test: {servers: *web}\n', '2:22 unidentified alias "web"'],
    [
      'a key __proto__',
      'domains:\n  a.test: {__proto__: {ip: 10.0.0.1}}\n',
      '2:12 a.test: "__proto__" is not a field here',
    ],
  ])('refuses %s, and says where', (_, text, expected) => {
    const found = problems(text);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(expected);
  });

  it('refuses aliases that repeat each other', () => {
    const bomb = ['a: &a {servers: [{ip: 10.0.0.1}]}'];
    for (let level = 0; level < 9; level += 1)
      bomb.push(
        `x${level}: &x${level} [${Array.from({ length: 9 }, () => (level === 0 ? '*a' : `*x${level - 1}`)).join(', ')}]`,
      );
    // 9 to the power of 9 values: nothing may visit each of them.
    bomb.push('domains: {a.test: {servers: *x8}}');
    expect(problems(bomb.join('\n'))).toEqual([
      '1:1 a is not a key here; the only key is domains',
      ...Array.from(
        { length: 9 },
        (_, level) => `${level + 2}:1 x${level} is not a key here; the only key is domains`,
      ),
      '10:10 a.test: servers[0] must be a JSON object',
    ]);
  });

  it('names the file of a domain that another file has, and stops after 20 problems', () => {
    const { problems: found } = parseDesiredDomains([
      { name: 'one.yaml', text: 'domains:\n  a.test: {}\n' },
      { name: 'two.json', text: '{"domains":{"a.test":{}}}' },
    ]);
    expect(found).toEqual([
      { file: 'two.json', line: 1, column: 13, message: 'a.test is already in one.yaml, line 2' },
    ]);
    const many = Array.from({ length: 30 }, (_, n) => `  n${n}.test: {x: 1}`);
    expect(problems(['domains:', ...many].join('\n'))).toHaveLength(20);
  });
});
