import { unexpectedOutput } from './parse-error.js';

type StatValue = string | number;

/** One row of `show stat`. */
export interface StatRow {
  proxy: string;
  /** FRONTEND, BACKEND, or the name of a server or listener. */
  service: string;
  kind: 'frontend' | 'backend' | 'server' | 'listener';
  /** The value of a column by its name; undefined if the column is empty or missing. */
  get(column: string): StatValue | undefined;
  /** The value of a column; 0 if it is not a number. */
  number(column: string): number;
  /** The text of a column; empty if the column is missing. */
  text(column: string): string;
}

/** The flags of the types to show; combine them with `|` (management guide, "show stat"). */
export const STAT = { frontends: 1, backends: 2, servers: 4, all: -1 } as const;
export type StatTypes = number;

/** The kinds by the number in the `type` column (management guide, "Statistics and monitoring", CSV format). */
const KINDS = ['frontend', 'backend', 'server', 'listener'] as const;

/**
 * Parses `show stat` (management guide, "Statistics and monitoring"):
 *
 *   # pxname,svname,qcur,…,status,weight,…,type,…
 *   web,FRONTEND,,,0,1,9983,…,OPEN,,…,0,…
 *   pool_1,pool_1_1,0,0,0,0,,…,"UP, maybe",1,…,2,…
 *
 * Finds columns by name. A field with a comma or a quote is quoted as in RFC 4180.
 */
export function parseStat(text: string): StatRow[] {
  const lines = text.split('\n').filter((line) => line !== '');
  const header = lines[0];
  if (!header?.startsWith('# pxname,')) throw unexpectedOutput('the output of "show stat"', text);
  const columns = columnsOf(header);
  const type = columns.get('type');
  if (type === undefined || !columns.has('svname')) throw unexpectedOutput('the output of "show stat"', text);
  // The columns that every reader needs. The others are split off only when one of them is read.
  const first = Math.max(type, columns.get('check_status') ?? 0) + 1;
  return lines.slice(1).map((line) => {
    const fields = line.includes('"') ? fieldsOf(line) : line.split(',', first);
    const kind = KINDS[Number(fields[type] === '' ? Number.NaN : fields[type])];
    if (!kind) throw unexpectedOutput('a line of "show stat"', line);
    return new Row(columns, fields, line, kind);
  });
}

/** The columns of the previous header. Most answers have the same header. */
let cached: { header: string; columns: ReadonlyMap<string, number> } | undefined;

function columnsOf(header: string): ReadonlyMap<string, number> {
  if (cached?.header !== header) {
    const names = header.slice(2).split(',');
    cached = { header, columns: new Map(names.map((name, index) => [name, index])) };
  }
  return cached.columns;
}

class Row implements StatRow {
  /** At first only the columns up to `check_status`; the whole line is split when a later column is read. */
  #fields: readonly string[];

  constructor(
    private readonly columns: ReadonlyMap<string, number>,
    fields: readonly string[],
    private readonly line: string,
    readonly kind: StatRow['kind'],
  ) {
    this.#fields = fields;
  }

  get proxy(): string {
    return this.text('pxname');
  }

  get service(): string {
    return this.text('svname');
  }

  get(column: string): StatValue | undefined {
    const value = this.text(column);
    if (value === '') return undefined;
    return /^-?\d{1,15}$/.test(value) ? Number(value) : value;
  }

  number(column: string): number {
    const value = this.get(column);
    return typeof value === 'number' ? value : 0;
  }

  text(column: string): string {
    const index = this.columns.get(column) ?? -1;
    if (index >= this.#fields.length) this.#fields = fieldsOf(this.line);
    return this.#fields[index] ?? '';
  }
}

function fieldsOf(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  const fields: string[] = [];
  let start = 0;
  while (start <= line.length) {
    if (line[start] !== '"') {
      const comma = line.indexOf(',', start);
      const end = comma < 0 ? line.length : comma;
      fields.push(line.slice(start, end));
      start = end + 1;
      continue;
    }
    let end = line.indexOf('"', start + 1);
    while (end >= 0 && line[end + 1] === '"') end = line.indexOf('"', end + 2);
    if (end < 0) throw unexpectedOutput('a line of "show stat"', line);
    fields.push(line.slice(start + 1, end).replaceAll('""', '"'));
    start = end + 2;
  }
  return fields;
}
