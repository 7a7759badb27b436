import { optionOf, positionalsOf } from './option-names.js';
import type { CliField, CliOperation } from './operations/operation.js';
import { wordOf } from './word.js';

/** The words of the example of an operation, after `haproxy-suite`. It works as it stands. */
export function exampleWords(operation: CliOperation): string[] {
  const { command, content, example, fields } = operation;
  const positionals = positionalsOf(operation);
  const shown = positionals.map(({ name }) => wordOf(example[name]));
  const options = fields
    .filter((field) => !positionals.includes(field) && example[field.name] !== undefined)
    .flatMap((field) => optionWords(field, example[field.name]));
  return [...command.split(' '), ...shown, ...(content ? ['domains.ndjson'] : []), ...options];
}

function optionWords(field: CliField, value: unknown): string[] {
  if (field.type === 'boolean') return value === true ? [optionOf(field)] : [];
  if (field.pairs)
    return Object.entries(value as object).flatMap(([key, one]) => [
      optionOf(field),
      `${key}=${wordOf(one)}`,
    ]);
  if (!field.items) return [optionOf(field), wordOf(value)];
  return (value as Record<string, unknown>[]).flatMap((item) => [
    optionOf(field),
    Object.entries(item)
      .map(([key, inner]) => `${key}=${wordOf(inner)}`)
      .join(','),
  ]);
}
