import type { Paint } from './colour.js';
import { visible } from '../../lib/safe-text.js';
import { wordOf } from '../word.js';

export type Row = Readonly<Record<string, unknown>>;

/** The format of a table: fixed by its first rows, so that a long table can be written in parts. */
export interface Table {
  columns: readonly string[];
  /** Columns that are too wide for the terminal. */
  left: readonly string[];
  header: string;
  line(row: Row): string;
}

export interface TableOptions {
  /** The width of the terminal; undefined to show all columns in full. */
  width: number | undefined;
  paint: Paint;
  /** The text of a value in a cell. */
  textOf: (value: unknown) => string;
  /** Called for a table inside an answer, with the columns that are too wide for the terminal. */
  onLeft?: (columns: readonly string[]) => void;
}

const GAP = '  ';
/** On a terminal, a longer text in a cell is cut. */
const MAX_CELL = 44;

/** Chooses the columns of these rows: each field that has a value, in the order of the rows, as far as they fit. */
export function tableOf(rows: readonly Row[], { width, paint, textOf }: TableOptions): Table {
  const cellOf = (row: Row, column: string) => cut(textOf(row[column]), width);
  const all = columnsOf(rows);
  const sizes = new Map(
    all.map((column) => [
      column,
      rows.reduce((size, row) => Math.max(size, cellOf(row, column).length), titleOf(column).length),
    ]),
  );
  const columns = fitting(all, sizes, width);
  const join = (cells: readonly { text: string; word: string }[]) =>
    cells
      .map(({ text, word }, index) => {
        const column = columns[index] ?? '';
        const size = index === cells.length - 1 ? 0 : (sizes.get(column) ?? 0);
        return `${paint(text, word)}${' '.repeat(Math.max(0, size - text.length))}`;
      })
      .join(GAP)
      .trimEnd();
  return {
    columns,
    left: all.slice(columns.length),
    header: join(columns.map((column) => ({ text: titleOf(column), word: '' }))),
    line: (row) => join(columns.map((column) => ({ text: cellOf(row, column), word: wordOf(row[column]) }))),
  };
}

/** The values of an object in a list, with those of inner objects beside them: `sessions.current`. */
export function flat(row: Row): Row {
  const entries = Object.entries(row).flatMap(([name, value]): [string, unknown][] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).map(([inner, one]) => [`${name} ${inner}`, one as unknown])
      : [[name, value]],
  );
  return Object.fromEntries(entries);
}

function columnsOf(rows: readonly Row[]): string[] {
  const names = new Set<string>();
  for (const row of rows)
    for (const [name, value] of Object.entries(row)) if (!isEmpty(value)) names.add(name);
  // In the order of the rows. A field that only later rows have comes after those of earlier rows.
  return [...names];
}

function isEmpty(value: unknown): boolean {
  return (
    value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
  );
}

function fitting(
  columns: readonly string[],
  sizes: ReadonlyMap<string, number>,
  width: number | undefined,
): readonly string[] {
  if (width === undefined) return columns;
  let used = -GAP.length;
  const end = columns.findIndex((column, index) => {
    used += GAP.length + (sizes.get(column) ?? 0);
    return index > 0 && used > width;
  });
  return end === -1 ? columns : columns.slice(0, end);
}

function cut(text: string, width: number | undefined): string {
  return width !== undefined && text.length > MAX_CELL ? `${text.slice(0, MAX_CELL - 1)}…` : text;
}

function titleOf(name: string): string {
  return visible(name).replaceAll('_', ' ').toUpperCase();
}
