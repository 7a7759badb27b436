import { describe, expect, it } from 'vitest';
import { declaredFields } from '../contract/fields/field.js';
import { DeclaredServerDto, PutDomainBodyDto } from '../domains/domains.dto.js';
import { parseRecord } from './import-record.js';
import { parsePutRecord, PUT_FIELDS, PUT_SERVER_FIELDS } from './put-record.js';

describe('parsePutRecord', () => {
  it('has the fields of the body of PUT /domains/{domain}, and of its servers', () => {
    const ofBody = [...declaredFields(PutDomainBodyDto).keys()].filter((name) => name !== 'dry_run');
    expect(PUT_FIELDS.toSorted()).toEqual(ofBody.toSorted());
    expect(PUT_SERVER_FIELDS.toSorted()).toEqual([...declaredFields(DeclaredServerDto).keys()].toSorted());
  });

  it('takes null as not given, and gives servers their defaults', () => {
    const value = { domain: 'A.test', ip: null, servers: [{ ip: '::0001', weight: null }] };
    expect(parsePutRecord(3, value)).toEqual({
      line: 3,
      domain: 'a.test',
      absent: false,
      input: { domain: 'a.test', servers: [{ ip: '::1', http_port: 80, weight: 1, state: 'ready' }] },
      servers: [{ ip: '::1', http_port: 80, weight: 1, state: 'ready' }],
    });
  });

  it.each([
    [{ domain: 'a.test', absent: true, ip: '10.0.0.1' }, 'ip is not allowed together with absent', ['ip']],
    [{ domain: 'a.test', absent: 'yes' }, 'absent must be true, or not be given', ['absent']],
    [{ domain: 'a.test', backend: 'pool_1' }, 'backend must be the name of a backend', ['backend']],
    [
      { domain: 'a.test', servers: [{ ip: '10.0.0.1', slot: 1 }] },
      '"slot" is not a field here',
      ['servers', 0, 'slot'],
    ],
    [{ domain: 'a.test', servers: [], http_port: 81 }, 'http_port belongs to ip', ['http_port']],
    [{ domain: 'a.test', dry_run: true }, '"dry_run" is not a field here', ['dry_run']],
    ...['constructor', 'toString'].map((key): [object, string, string[]] => [
      { domain: 'a.test', labels: { [key]: 'x' } },
      `(not so: "${key}")`,
      ['labels', key],
    ]),
    [
      { domain: 'a.test', labels: JSON.parse('{"__proto__":"x"}') as object },
      '(not so: "__proto__")',
      ['labels', '__proto__'],
    ],
    ...['2030-01-01T24:00:00Z', '2030-01-01T23:60:00Z', '2030-01-01T00:00:00+24:00'].map(
      (expires_at): [object, string, string[]] => [
        { domain: 'a.test', expires_at },
        'expires_at must be',
        ['expires_at'],
      ],
    ),
  ])('refuses %j', (value, message, path) => {
    expect(() => parsePutRecord(1, value)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(message) as string, path }) as Error,
    );
  });

  it('has the rules for labels of the other modes', () => {
    for (const key of ['constructor', 'toString'])
      expect(() => parseRecord(1, { domain: 'a.test', site: { labels: { [key]: 'x' } } })).toThrow(
        `site.labels.${key} is not allowed`,
      );
  });

  it('is the only mode with absent', () => {
    expect(() => parseRecord(1, { domain: 'a.test', absent: true })).toThrow('absent is only for mode=put');
  });
});
