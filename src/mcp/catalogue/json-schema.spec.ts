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
import { toolSchema } from './json-schema.js';

class Leaf {
  @IntField({ description: 'Number.', min: 1, example: 3 })
  example: number;
}

class Everything {
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

async function schemas() {
  const app = await NestFactory.create<NestFastifyApplication>(EmptyModule, new FastifyAdapter(), {
    logger: false,
  });
  const found = schemasOf(app, [Everything]);
  await app.close();
  return found;
}

const nothing = { plain: null, named: null, leaf: null, leaves: null, words: [], when: null };
const something = {
  plain: 'a',
  named: 'b',
  leaf: { example: 1 },
  leaves: [{ example: 2 }],
  words: ['x'],
  when: '2026-01-31T12:00:00Z',
  ratio: 1,
  text: 'abc',
};

describe('toolSchema', () => {
  it.each([true, false])('accepts what the fields accept (input %s)', async (input) => {
    const schema = toolSchema(await schemas(), 'Everything', { input });
    const validate = new Ajv2020({
      strict: true,
      allowUnionTypes: true,
      formats: { 'date-time': true },
    }).compile(schema);
    for (const value of [nothing, something]) {
      validate(value);
      expect(validate.errors).toBeNull();
    }
    for (const wrong of [
      { plain: 'c' },
      { named: 'c' },
      { leaf: { example: 0 } },
      { ratio: 2 },
      { text: '' },
      { words: null },
    ])
      expect(validate({ ...something, ...wrong })).toBe(false);
    expect(validate({ ...something, extra: 1 })).toBe(!input);
    expect(validate({ ...something, leaf: { example: 1, extra: 1 } })).toBe(!input);
  });

  it('keeps a field called like a keyword, and turns an example into examples', async () => {
    expect(toolSchema(await schemas(), 'Leaf', { input: true })).toEqual({
      type: 'object',
      properties: { example: { type: 'integer', minimum: 1, description: 'Number.', examples: [3] } },
      required: ['example'],
      additionalProperties: false,
    });
  });

  it('refuses what is not an object, as MCP does', () => {
    expect(() => toolSchema({ Word: { type: 'string' } }, 'Word', { input: true })).toThrow('not an object');
  });
});
