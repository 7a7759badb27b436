import { IntersectionType, OmitType } from '@nestjs/swagger';
import { describe, expect, it } from 'vitest';
import { ArrayField, DomainField, StringField } from './fields/fields.js';
import { InputPipe } from './input/input.pipe.js';
import { recordedArguments } from './recorded-arguments.js';

class PathDto {
  @DomainField({ description: 'Domain.' })
  domain: string;
}

class PartDto {
  @StringField({ description: 'Key.', secret: true })
  key: string;

  @StringField({ description: 'Name.' })
  name: string;
}

class BodyDto {
  @StringField({ description: 'PEM.', secret: true, optional: true })
  pem?: string;

  @StringField({ description: 'Note.' })
  note: string = 'none';

  @ArrayField(PartDto, { description: 'Parts.', optional: true })
  parts?: PartDto[];
}

class InputDto extends IntersectionType(PathDto, OmitType(BodyDto, [])) {}

describe('recordedArguments', () => {
  it('keeps declared fields in canonical form and redacts secrets in nested and derived classes', async () => {
    const given = { domain: 'A.Example.', pem: 'SECRET', parts: [{ key: 'SECRET', name: 'x' }] };
    const recorded = recordedArguments(InputDto, await new InputPipe().read(InputDto, given, 'json'));
    expect(recorded).toEqual({
      domain: 'a.example',
      note: 'none',
      pem: '[redacted]',
      parts: [{ key: '[redacted]', name: 'x' }],
    });
  });

  it.each([
    ['in a list', { parts: [{ constructor: 'x' }] }, { parts: ['[object]'] }],
    ['in the place of a text', { note: { constructor: 1 } }, { note: '[object]' }],
    ['without a prototype', { note: Object.create(null) as object }, { note: '[object]' }],
  ])('keeps no object %s, whatever its keys are', (_, given, expected) => {
    expect(recordedArguments(InputDto, given)).toMatchObject(expected);
  });

  it('keeps invalid values, but no undeclared fields', () => {
    const given = {
      domain: 5,
      note: 'x'.repeat(1000),
      pem: { a: 'SECRET' },
      parts: [{ key: 'SECRET' }],
      other: 'SECRET',
    };
    const recorded = recordedArguments(InputDto, given);
    expect(JSON.stringify(recorded)).not.toContain('SECRET');
    expect(recorded).toEqual({
      domain: 5,
      note: `${'x'.repeat(253)}…`,
      pem: '[redacted]',
      parts: ['[object]'],
    });
  });

  it('stays short for any input', () => {
    const deep = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000)) as unknown;
    const wide = Array.from({ length: 20 }, () => '\0'.repeat(253));
    const given = { domain: deep, note: [wide, deep, { a: 1 }], parts: wide };
    const recorded = recordedArguments(InputDto, given);
    expect(recorded).toMatchObject({ domain: ['[list]'], note: ['[list]', '[list]', '[object]'] });
    expect(recordedArguments(InputDto, { domain: wide, note: wide, parts: wide })).toHaveProperty('parts');
    for (const one of [recorded, recordedArguments(InputDto, { domain: wide, note: wide, parts: wide })])
      expect(JSON.stringify(one).length).toBeLessThan(10_000);
  });

  it('redacts a token in any field, also where the text is cut', () => {
    const token = `hst_${'aB3-_'.repeat(8)}xyz`;
    for (const note of [token, `the token ${token}.`, 'x'.repeat(240) + token])
      expect(JSON.stringify(recordedArguments(InputDto, { note }))).not.toMatch(/hst_|aB3/);
    expect(recordedArguments(InputDto, { note: 'hst_short' })).toEqual({ note: 'hst_short' });
  });

  it('redacts a private key in any field', () => {
    const note = '-----BEGIN EC PRIVATE KEY-----\nMHcC…';
    expect(recordedArguments(InputDto, { note })).toEqual({ note: '[redacted]' });
  });
});
