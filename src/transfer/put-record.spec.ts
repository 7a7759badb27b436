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
  ])('refuses %j', (value, message, path) => {
    expect(() => parsePutRecord(1, value)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(message) as string, path }) as Error,
    );
  });

  it('is the only mode with absent', () => {
    expect(() => parseRecord(1, { domain: 'a.test', absent: true })).toThrow('absent is only for mode=put');
  });
});
