import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import {
  ArrayField,
  DateTimeField,
  EnumField,
  IntField,
  NestedField,
  NumberField,
  StringField,
} from '../../contract/fields/fields.js';
import { schemasOf } from '../../contract/openapi.js';
import { toToolSchema } from './json-schema.js';

class Leaf {
  @IntField({ description: 'Number.', min: 1, example: 3 })
  example: number;
}

class AllFields {
  @EnumField(['a', 'b'], { description: 'Plain.', nullable: true })
  plain: string | null;

  @EnumField(['a', 'b'], { name: 'Letter', description: 'Named.', nullable: true })
  named: string | null;

  @NestedField(Leaf, { description: 'Leaf.', nullable: true })
  leaf: Leaf | null;

  @ArrayField(Leaf, { description: 'Leaves.', nullable: true })
  leaves: Leaf[] | null;

  @ArrayField('string', { description: 'Words.' })
  words: string[];

  @DateTimeField({ description: 'When.', nullable: true })
  when: string | null;

  @NumberField({ description: 'How much.', min: 0, max: 1 })
  ratio = 0.5;

  @StringField({ description: 'Text.', minLength: 1, maxLength: 3, optional: true })
  text?: string;
}

@Controller()
class EmptyController {
  @Get()
  get() {
    return {};
  }
}

@Module({ controllers: [EmptyController] })
class EmptyModule {}

async function loadSchemas() {
  const app = await NestFactory.create<NestFastifyApplication>(EmptyModule, new FastifyAdapter(), {
    logger: false,
  });
  const schemas = schemasOf(app, [AllFields]);
  await app.close();
  return schemas;
}

const smallest = { plain: null, named: null, leaf: null, leaves: null, words: [], when: null };
const complete = {
  plain: 'a',
  named: 'b',
  leaf: { example: 1 },
  leaves: [{ example: 2 }],
  words: ['x'],
  when: '2026-01-31T12:00:00Z',
  ratio: 1,
  text: 'abc',
};

describe('toToolSchema', () => {
  it.each([true, false])('accepts the same values as the fields of the DTO (input: %s)', async (input) => {
    const schema = toToolSchema(await loadSchemas(), 'AllFields', { input });
    const validate = new Ajv2020({
      strict: true,
      allowUnionTypes: true,
      formats: { 'date-time': true },
    }).compile(schema);
    for (const value of [smallest, complete]) {
      validate(value);
      expect(validate.errors).toBeNull();
    }
    for (const invalid of [
      { plain: 'c' },
      { named: 'c' },
      { leaf: { example: 0 } },
      { ratio: 2 },
      { text: '' },
      { words: null },
    ])
      expect(validate({ ...complete, ...invalid })).toBe(false);
    expect(validate({ ...complete, extra: 1 })).toBe(!input);
    expect(validate({ ...complete, leaf: { example: 1, extra: 1 } })).toBe(!input);
  });

  it('keeps a field with the name of a keyword, and examples only where a model needs one', async () => {
    expect(toToolSchema(await loadSchemas(), 'Leaf', { input: true })).toEqual({
      type: 'object',
      properties: { example: { type: 'integer', minimum: 1, description: 'Number.' } },
      required: ['example'],
      additionalProperties: false,
    });
  });

  it('throws if the schema is not an object', () => {
    expect(() => toToolSchema({ Word: { type: 'string' } }, 'Word', { input: true })).toThrow(
      'not an object',
    );
  });
});
