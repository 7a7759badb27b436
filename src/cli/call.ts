import { createReadStream, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { UsageError } from './exit-code.js';
import { fieldOfKey, optionOf, positionalsOf } from './option-names.js';
import { ARGUMENT_RULE, formatEntityTags, parseEntityTags } from '../contract/preconditions/entity-tags.js';
import { type CliField, type CliOperation, IF_MATCH_FIELD } from './operations/operation.js';
import type { SuiteRequest } from './suite-client.js';
import { readProblem, shownWord, wordOf } from './word.js';

/** The values of the fields of an operation, by name. */
export type Values = Record<string, unknown>;

/** Fills the fields without a name, in their order. An option may name one of them too. */
export function withPositionals(operation: CliOperation, words: readonly string[], given: Values): Values {
  const open = positionalsOf(operation).filter(({ name }) => given[name] === undefined);
  const extra = words[open.length];
  if (extra !== undefined)
    throw new UsageError(`The argument ${shownWord(extra)} is too much for ${operation.command}.`);
  return {
    ...given,
    ...Object.fromEntries(
      words.map((word, index) => {
        const field = open[index] as CliField;
        return [field.name, valueOf(field, word, `<${field.name}>`)];
      }),
    ),
  };
}

/** @throws UsageError that names the required fields that have no value. `body` has values of the body only. */
export function requireComplete(operation: CliOperation, values: Values, body: Values | undefined): void {
  const positionals = positionalsOf(operation);
  const missing = operation.fields.filter(
    (field) =>
      field.required && (field.in === 'body' ? { ...body, ...values } : values)[field.name] === undefined,
  );
  if (missing.length === 0) return;
  const names = missing.map((field) => (positionals.includes(field) ? `<${field.name}>` : optionOf(field)));
  throw new UsageError(
    `${operation.command} needs ${names.join(' and ')}. Run haproxy-suite ${operation.command} --help for an example.`,
  );
}

/** The request of a call. `body` is the content of `--json-body`; the other values take precedence. */
export function toRequest(
  { method, path, fields }: CliOperation,
  values: Values,
  body?: Values,
): SuiteRequest {
  const part = (where: CliField['in']) =>
    fields.filter((field) => field.in === where && values[field.name] !== undefined);
  const inPath = part('path').reduce((url, { name }) => {
    const text = wordOf(values[name]);
    if (text === '') throw new UsageError(`<${name}> must not be empty.`);
    return url.replace(`{${name}}`, encodeURIComponent(text));
  }, path);
  const query = new URLSearchParams(
    part('query').map(({ name }): [string, string] => [name, wordOf(values[name])]),
  );
  const [ifMatch] = part('header').map(({ name }) => wordOf(values[name]));
  const hasBody = fields.some((field) => field.in === 'body');
  const given = Object.fromEntries(part('body').map(({ name }) => [name, values[name]]));
  return {
    method,
    path: `${inPath}${query.size > 0 ? `?${query.toString()}` : ''}`,
    ...(hasBody && { body: { ...body, ...given } }),
    ...(ifMatch !== undefined && { headers: { 'if-match': ifMatch } }),
  };
}

/** The value that a word stands for. `label` names the argument in an error. @throws UsageError */
export function valueOf(field: CliField, word: string, label: string): unknown {
  const refuse = (rule: string): never => {
    throw new UsageError(`${label} must be ${rule}, but it is ${shownWord(word)}.`);
  };
  switch (field.type) {
    case 'integer':
      return /^-?\d{1,15}$/.test(word) ? Number(word) : refuse('a whole number');
    case 'number':
      return /^-?\d{1,15}(?:\.\d{1,15})?$/.test(word) ? Number(word) : refuse('a number');
    case 'boolean':
      return word === 'true' || word === 'false' ? word === 'true' : refuse('true or false');
    case 'object':
      try {
        return JSON.parse(word) as unknown;
      } catch {
        return refuse('an object in JSON');
      }
    case 'array':
      return [word];
    default:
      if (field.name === IF_MATCH_FIELD) {
        const tags = parseEntityTags(word, { unquoted: true });
        return tags ? formatEntityTags(tags) : refuse(ARGUMENT_RULE);
      }
      return !field.enum || field.enum.includes(word) ? word : refuse(`one of ${field.enum.join(', ')}`);
  }
}

/** An object of a list, from `ip=10.0.0.1,port=80`. @throws UsageError */
export function itemOf(field: CliField, word: string): Values {
  const option = optionOf(field);
  const fields = field.items ?? [];
  const names = fields.map(({ name }) => name).join(', ');
  const refuse = (problem: string): never => {
    throw new UsageError(`${option} ${shownWord(word)} ${problem}`);
  };
  const item: Values = {};
  for (const pair of word.split(',')) {
    const [, key, value = ''] = /^([^=]*)=(.*)$/s.exec(pair) ?? [];
    if (key === undefined)
      return refuse(`has ${shownWord(pair)}, which is no key=value. The keys are ${names}.`);
    const found = fieldOfKey(key, fields);
    if (!found) return refuse(`has the unknown key ${shownWord(key)}. The keys are ${names}.`);
    if (Object.hasOwn(item, found.name)) return refuse(`has ${found.name} twice.`);
    item[found.name] = valueOf(found, value, `${option} ${key}`);
  }
  return item;
}

/** A key of an object of texts, from `team=web`. @throws UsageError */
export function pairOf(field: CliField, word: string): Values {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(word) ?? [];
  if (key === undefined || value === undefined)
    throw new UsageError(`${optionOf(field)} must be key=value, but it is ${shownWord(word)}.`);
  return Object.fromEntries([[key, value]]);
}

/** The text of a file, or of stdin for `-`. @throws UsageError */
export function readText(file: string, option: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${option} must name a file, or be - for stdin, but ${shownWord(file)} cannot be read: ${readProblem(error)}.`,
    );
  }
}

/** The JSON object in a file. @throws UsageError */
export function readBody(file: string): Values {
  const text = readText(file, '--json-body');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    // V8 quotes a piece of the text, which can be a piece of a key.
    const place = /position \d+/.exec((error as SyntaxError).message)?.[0];
    throw new UsageError(
      `--json-body ${shownWord(file)} is not JSON${place === undefined ? '' : ` (at ${place})`}.`,
    );
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new UsageError(`--json-body ${shownWord(file)} must hold a JSON object.`);
  return body as Values;
}

/** The content of a request, which is a file. A list begins with `[`; otherwise each line is a JSON object. */
export async function openContent(file: string): Promise<NonNullable<SuiteRequest['content']>> {
  const stream: Readable = file === '-' ? process.stdin : createReadStream(file);
  const first = await firstChunk(stream).catch((error: unknown) => {
    throw new UsageError(`The file ${shownWord(file)} cannot be read: ${readProblem(error)}.`);
  });
  stream.unshift(first);
  const isList = first.toString('utf8').trimStart().startsWith('[');
  return { type: isList ? 'application/json' : 'application/x-ndjson', stream };
}

function firstChunk(stream: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    stream.once('error', reject);
    stream.once('end', () => reject(new Error('it is empty')));
    stream.once('readable', () => {
      const chunk = stream.read() as Buffer | null;
      if (chunk) resolve(chunk);
    });
  });
}
