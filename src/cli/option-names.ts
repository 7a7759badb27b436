import type { CliField, CliOperation } from './operations/operation.js';

/**
 * The option of a field: `http_port` → `--http-port`. A list of objects and an object of any keys have an option for one:
 * `servers` → `--server`, `labels` → `--label`.
 */
export function optionOf({ name, items, pairs }: Pick<CliField, 'name' | 'items' | 'pairs'>): string {
  const word = items || pairs ? name.replace(/s$/, '') : name;
  return `--${word.replaceAll('_', '-')}`;
}

/** The fields that are arguments without a name: those of the path, then the required ones that are one word. */
export function positionalsOf({ fields }: CliOperation): CliField[] {
  return [
    ...fields.filter((field) => field.in === 'path'),
    ...fields.filter((field) => field.in !== 'path' && field.required && isWord(field)),
  ];
}

function isWord({ type, secret }: CliField): boolean {
  return type !== 'array' && type !== 'object' && !secret;
}

/**
 * The field that a key of `--server ip=10.0.0.1,port=80` names: by its name, or by its last word if only one field ends
 * with it.
 */
export function fieldOfKey(key: string, fields: readonly CliField[]): CliField | undefined {
  const name = key.replaceAll('-', '_');
  const byEnd = fields.filter((field) => field.name.endsWith(`_${name}`));
  return fields.find((field) => field.name === name) ?? (byEnd.length === 1 ? byEnd[0] : undefined);
}
