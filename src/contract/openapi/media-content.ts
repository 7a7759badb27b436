import type { Type } from '@nestjs/common';
import { getSchemaPath } from '@nestjs/swagger';

/** Media type → what it holds. */
export type MediaContent = Record<string, { schema: object; example?: unknown }>;

/** A list of records, which a client may send or read in two ways: as a JSON array, or as lines of JSON. */
export function recordsContent(record: Type, example?: object): MediaContent {
  const name = getSchemaPath(record).replace('#/components/schemas/', '');
  return {
    'application/json': {
      schema: { type: 'array', items: { $ref: getSchemaPath(record) } },
      ...(example && { example: [example] }),
    },
    'application/x-ndjson': {
      schema: { type: 'string', description: `Lines of text. Each line is one ${name} as JSON.` },
      ...(example && { example: `${JSON.stringify(example)}\n` }),
    },
  };
}
