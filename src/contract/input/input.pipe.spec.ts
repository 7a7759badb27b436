import { IntersectionType } from '@nestjs/swagger';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../../test/chaos/scale.js';
import { AppError } from '../../errors/app-error.js';
import {
  ArrayField,
  BooleanField,
  DateTimeField,
  DomainField,
  EnumField,
  IntField,
  IpField,
  NestedField,
  StringField,
} from '../fields/fields.js';
import type { InputSource } from '../fields/field.js';
import { InputPipe } from './input.pipe.js';

class ServerItem {
  @IpField({ description: 'Address.' })
  ip: string;

  @IntField({ description: 'Port.', min: 1, max: 65_535 })
  http_port = 80;
}

class DomainPath {
  @DomainField({ description: 'Domain.' })
  domain: string;
}

class Body {
  @ArrayField(ServerItem, {
    description: 'Servers.',
    minItems: 1,
    maxItems: 3,
    orJsonText: true,
    optional: true,
  })
  servers?: ServerItem[];

  @NestedField(ServerItem, { description: 'One.', optional: true })
  one?: ServerItem;

  @BooleanField({ description: 'Flag.' })
  flag = false;

  @IntField({ description: 'Limit.', min: 1, max: 1000 })
  limit = 100;

  @EnumField(['ready', 'drain'], { description: 'State.', optional: true })
  state?: string;

  @StringField({ description: 'Note.', nullable: true, optional: true, maxLength: 5 })
  note?: string | null;

  @DateTimeField({ description: 'When.', optional: true })
  when?: string;

  @ArrayField('string', { description: 'Tags.', optional: true })
  tags?: string[];
}

class Input extends IntersectionType(DomainPath, Body) {}

const pipe = new InputPipe();

async function errorsOf(value: unknown, source: InputSource = 'json'): Promise<Record<string, string>> {
  try {
    await pipe.read(Input, value, source);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'validation_failed') throw error;
    return Object.fromEntries((error.errors ?? []).map(({ field, message }) => [field, message]));
  }
  return {};
}

describe('InputPipe', () => {
  it('sets the defaults of a class and of the classes that it combines', async () => {
    const input = await pipe.read(Input, { domain: 'Example.COM.', servers: [{ ip: '10.0.0.1' }] }, 'json');
    expect(input).toMatchObject({ domain: 'example.com', limit: 100, flag: false });
    expect(input.servers?.[0]).toBeInstanceOf(ServerItem);
    expect(input.servers?.[0]?.http_port).toBe(80);
  });

  it('reads numbers and booleans from text for tools, and for path and query parameters', async () => {
    const text = { domain: 'a.example', limit: '5', flag: 'true' };
    for (const source of ['text', 'tool'] as const)
      await expect(pipe.read(Input, text, source)).resolves.toMatchObject({ limit: 5, flag: true });
    const messages = { limit: 'must be a whole number from 1 to 1000', flag: 'must be true or false' };
    await expect(errorsOf(text)).resolves.toEqual(messages);
  });

  it.each([
    [{ limit: 1.5 }, 'limit'],
    [{ limit: 0 }, 'limit'],
    [{ limit: '' }, 'limit'],
    [{ flag: 1 }, 'flag'],
    [{ state: 'gone' }, 'state'],
    [{ note: 'longer' }, 'note'],
    [{ when: '2026-13-45T00:00:00Z' }, 'when'],
    [{ tags: [1] }, 'tags'],
    [{ tags: 'x' }, 'tags'],
    [{ servers: {} }, 'servers'],
    [{ servers: [] }, 'servers'],
    [{ servers: [null] }, 'servers'],
    [{ servers: 'x' }, 'servers'],
    [{ servers: '[{"ip":"10.0.0.1"}]' }, 'servers'],
    [{ one: [] }, 'one'],
    [{ one: [{ ip: '10.0.0.1' }] }, 'one'],
    [{ one: 'x' }, 'one'],
    [{ one: { ip: 'x' } }, 'one.ip'],
    [{ servers: [{ ip: '10.0.0.1' }, { ip: 'x' }] }, 'servers[1].ip'],
    [{ servers: [{ ip: '10.0.0.1', extra: 1 }] }, 'servers[0].extra'],
    [{ servers: [[{ ip: '10.0.0.1' }]] }, 'servers'],
    [{ extra: 1 }, 'extra'],
    [{ hasOwnProperty: 1 }, 'hasOwnProperty'],
    [{ constructor: { x: 1 } }, 'constructor'],
    [JSON.parse('{"__proto__":{"admin":true}}') as object, '__proto__'],
    [{ one: JSON.parse('{"__proto__":1}') as object }, 'one.__proto__'],
  ])('refuses %j and names the invalid field', async (value, field) => {
    const errors = await errorsOf({ domain: 'a.example', ...value });
    expect(Object.keys(errors)).toContain(field);
    expect(errors[field]).toMatch(/^(must be|is not a field here)/);
  });

  it.each([[null], [[]], ['x'], [5], [true]])('refuses %j, which is not an object', async (value) => {
    await expect(errorsOf(value)).resolves.toEqual({ body: 'must be a JSON object' });
  });

  it('treats a missing body as an empty object', async () => {
    await expect(errorsOf(undefined)).resolves.toHaveProperty('domain');
  });

  it('accepts a list as JSON text from tools', async () => {
    const value = { domain: 'a.example', servers: '[{"ip":"10.0.0.1"}]' };
    const input = await pipe.read(Input, value, 'tool');
    expect(input.servers).toEqual([{ ip: '10.0.0.1', http_port: 80 }]);
    expect(input.servers?.[0]).toBeInstanceOf(ServerItem);
    const bad = { domain: 'a.example', servers: '[{"ip":"x"}]' };
    await expect(errorsOf(bad, 'tool')).resolves.toHaveProperty(['servers[0].ip']);
  });

  it('does not report the fields of an object that is given instead of a list', async () => {
    const errors = await errorsOf({ domain: 'a.example', servers: {} });
    expect(Object.keys(errors)).toEqual(['servers']);
  });

  it('refuses deep nesting without a stack overflow', async () => {
    const deep = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`) as unknown;
    await expect(errorsOf({ domain: 'a.example', tags: deep })).resolves.toBeDefined();
    await expect(
      errorsOf({ domain: 'a.example', tags: Array.from({ length: 30_000 }, String) }),
    ).resolves.toEqual({
      tags: 'must not have more than 20000 values',
    });
  });

  it('turns any JSON into an instance or an AppError', async () => {
    const keys = fc.oneof(
      fc.constantFrom(
        'domain',
        'servers',
        'one',
        'flag',
        'limit',
        '__proto__',
        'constructor',
        'toString',
        'then',
      ),
      fc.string(),
    );
    const any = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(keys, fc.jsonValue()),
      fc.array(fc.dictionary(keys, fc.jsonValue())),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(any, fc.dictionary(keys, any)),
        fc.constantFrom<InputSource>('json', 'text', 'tool'),
        async (value, source) => {
          const result = await pipe.read(Input, value, source).catch((error: unknown) => error);
          expect(result instanceof Input || result instanceof AppError).toBe(true);
        },
      ),
      { numRuns: scaled(2000, 300) },
    );
  });
});
