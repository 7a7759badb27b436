import { notThis } from './parse-error.js';

export type StatValue = string | number;

/** One line of `show stat`. `get` finds a column by its name; an empty column is undefined. */
export interface StatRow {
  proxy: string;
  /** FRONTEND, BACKEND, or a server's or listener's name. */
  service: string;
  kind: 'frontend' | 'backend' | 'server' | 'listener';
  get(column: string): StatValue | undefined;
  number(column: string): number;
  text(column: string): string;
}

/** What to show, to be added up (management guide, "show stat"). */
export const STAT = { frontends: 1, backends: 2, servers: 4, all: -1 } as const;
export type StatTypes = number;

/** The numbers of the `type` column (management guide, "Statistics and monitoring", CSV format). */
const KINDS = ['frontend', 'backend', 'server', 'listener'] as const;

/**
 *   # pxname,svname,qcur,…,status,weight,…,type,…
 *   web,FRONTEND,,,0,1,9983,…,OPEN,,…,0,…
 *   pool_1,pool_1_1,0,0,0,0,,…,"UP, maybe",1,…,2,…
 *
 * Columns are found by their names. Fields with commas or quotes come in quotes, doubled inside, as in RFC 4180.
 */
export function parseStat(text: string): StatRow[] {
  const lines = text.split('\n').filter((line) => line !== '');
  const header = lines[0];
  if (!header?.startsWith('# pxname,')) throw notThis('"show stat"', text);
  const columns = columnsOf(header);
  const type = columns.get('type');
  if (type === undefined || !columns.has('svname')) throw notThis('"show stat"', text);
  return lines.slice(1).map((line) => {
    const fields = line.includes('"') ? fieldsOf(line) : line.split(',', type + 1);
    const kind = KINDS[Number(fields[type] === '' ? Number.NaN : fields[type])];
    if (!kind) throw notThis('a line of "show stat"', line);
    return new Row(columns, fields, line, kind);
  });
}

/** The columns of the header seen last: many answers have one and the same. */
let known: { header: string; columns: ReadonlyMap<string, number> } | undefined;

function columnsOf(header: string): ReadonlyMap<string, number> {
  if (known?.header !== header) {
    const names = header.slice(2).split(',');
    known = { header, columns: new Map(names.map((name, index) => [name, index])) };
  }
  return known.columns;
}

class Row implements StatRow {
  /** `fields` are those up to the type; the others are looked at only if somebody asks for them. */
  constructor(
    private readonly columns: ReadonlyMap<string, number>,
    private fields: readonly string[],
    private readonly line: string,
    readonly kind: StatRow['kind'],
  ) {}

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
    if (index >= this.fields.length) this.fields = fieldsOf(this.line);
    return this.fields[index] ?? '';
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
    if (end < 0) throw notThis('a line of "show stat"', line);
    fields.push(line.slice(start + 1, end).replaceAll('""', '"'));
    start = end + 2;
  }
  return fields;
}
