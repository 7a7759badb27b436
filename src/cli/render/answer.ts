import { visible } from '../../lib/safe-text.js';
import { flat, type Row, tableOf, type TableOptions } from './table.js';
import { wordOf } from '../word.js';

type Body = Readonly<Record<string, unknown>>;

/** The fields of a page that are not shown beside its items. */
const PAGE_FIELDS = new Set(['items', 'next_cursor', 'total']);
/** The fields that a dry run adds. */
const PLAN_FIELDS = new Set(['dry_run', 'plan', 'plan_steps', 'before']);

/** The answer of an operation as lines for people. Which fields are shown follows from the answer itself. */
export function linesOf(body: unknown, options: TableOptions): string[] {
  if (!isObject(body)) return [options.textOf(body)];
  if (body['dry_run'] === true) return planLines(body, options);
  return objectLines(body, options);
}

/** The items of a page; undefined for another answer. */
export function itemsOf(body: unknown): Row[] | undefined {
  const items = isObject(body) && 'next_cursor' in body ? body['items'] : undefined;
  return Array.isArray(items) ? (items as Row[]).map(flat) : undefined;
}

/** The fields of a page beside its items and its counts, such as totals of the process. */
export function besideItems(body: unknown): Body {
  if (!isObject(body)) return {};
  return Object.fromEntries(Object.entries(body).filter(([name]) => !PAGE_FIELDS.has(name)));
}

function planLines(body: Body, options: TableOptions): string[] {
  const plan = (body['plan'] ?? []) as { target: string; text: string }[];
  const count = typeof body['plan_steps'] === 'number' ? body['plan_steps'] : plan.length;
  const rest = Object.fromEntries(Object.entries(body).filter(([name]) => !PLAN_FIELDS.has(name)));
  const { before } = body;
  return [
    `Dry run: nothing was changed. ${count === 0 ? 'The command would change nothing.' : 'The command would do:'}`,
    ...plan.map(
      ({ target, text }, index) => `  ${index + 1}. ${options.textOf(text)} [${options.textOf(target)}]`,
    ),
    ...(count > plan.length ? [`  … and ${count - plan.length} more steps`] : []),
    ...(isObject(before) ? ['', 'It would replace:', ...indented(objectLines(before, options))] : []),
    '',
    'Result:',
    ...indented(objectLines(rest, options)),
  ];
}

/** Values first, aligned; then lists and inner objects, each with its name above it. */
export function objectLines(body: Body, options: TableOptions): string[] {
  const entries = Object.entries(body).filter(([, value]) => value !== undefined);
  const short = entries.filter(([, value]) => !isLong(value));
  const size = Math.max(0, ...short.map(([name]) => labelOf(name).length));
  return [
    ...short.map(([name, value]) => {
      const text = options.textOf(value);
      return `${`${labelOf(name)}:`.padEnd(size + 1)} ${options.paint(text, text)}`.trimEnd();
    }),
    ...entries
      .filter(([, value]) => isLong(value))
      .flatMap(([name, value]) => ['', `${labelOf(name)}:`, ...indented(longLines(value, options))]),
  ];
}

function longLines(value: unknown, options: TableOptions): string[] {
  if (isObject(value)) return objectLines(value, options);
  const items = value as unknown[];
  if (!items.every(isObject)) return items.map((item) => options.textOf(item));
  const rows = items.map(flat);
  const width = options.width === undefined ? undefined : options.width - INDENT.length;
  const table = tableOf(rows, { ...options, width });
  if (table.left.length > 0) options.onLeft?.(table.left);
  return [table.header, ...rows.map((row) => table.line(row))];
}

/** Whether a value needs lines of its own: objects, and lists of objects or of sentences. */
function isLong(value: unknown): boolean {
  if (Array.isArray(value)) return value.some((item) => isObject(item) || wordOf(item).includes(' '));
  return isObject(value) && Object.keys(value).length > 0;
}

function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const INDENT = '  ';
const indented = (lines: readonly string[]) => lines.map((line) => (line === '' ? '' : `${INDENT}${line}`));

function labelOf(name: string): string {
  return visible(name).replaceAll('_', ' ');
}

/** The text of a value: yes and no, `-` for none, lists with commas, and objects as JSON. */
export function plainText(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) {
    if (value.length === 0) return '-';
    return value.some((item) => typeof item === 'object') ? String(value.length) : value.join(', ');
  }
  return typeof value === 'object' ? JSON.stringify(value) : wordOf(value);
}
