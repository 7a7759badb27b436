import { parsePutRecord, PUT_FIELDS, type PutRecord } from '../../transfer/put-record.js';
import { InvalidRecord, objectWith } from '../../transfer/record-values.js';
import type { InputFile } from './input-files.js';
import { type Path, readYaml, shown, type YamlDocument } from './yaml-text.js';

/** A place in a file. Line and column begin with 1; 0 if the place is not known. */
export interface Place {
  file: string;
  line: number;
  column: number;
}

/** What is wrong in a file, and where. */
export interface FileProblem extends Place {
  message: string;
}

export interface DesiredDomains {
  /** One for each domain. `line` is its place in this list, from 1. */
  records: PutRecord[];
  /** The place of each record. */
  places: Place[];
  problems: FileProblem[];
}

/** The most problems that are reported. */
const MAX_PROBLEMS = 20;

const BODY_FIELDS: ReadonlySet<string> = new Set(PUT_FIELDS);

/** Reads and checks all domains of all files. Each domain is checked by itself; the problems name file, line and key. */
export function parseDesiredDomains(files: readonly InputFile[]): DesiredDomains {
  const reader = new Reader();
  for (const file of files) reader.read(file);
  return reader;
}

class Reader implements DesiredDomains {
  readonly records: PutRecord[] = [];
  readonly places: Place[] = [];
  readonly problems: FileProblem[] = [];
  readonly #indexOf = new Map<string, number>();

  read({ name, text }: InputFile): void {
    const lines = new LineStarts(text);
    const at = (offset: number): Place => ({ file: name, ...lines.placeOf(offset) });
    const { documents, problems } = readYaml(text);
    for (const { offset, message } of problems) this.#add(at(offset), message);
    for (const document of documents) this.#readDocument(document, at);
  }

  #readDocument({ value: root, offsetOf }: YamlDocument, at: (offset: number) => Place): void {
    const place = (path: Path) => at(offsetOf(path));
    if (root === undefined || root === null) return;
    if (!isObject(root)) {
      this.#add(place([]), 'the file must have the key domains, with an object of domains by name');
      return;
    }
    for (const key of Object.keys(root))
      if (key !== 'domains')
        this.#add(place([key]), `${shown(key)} is not a key here; the only key is domains`);
    const domains = root['domains'] ?? {};
    if (!isObject(domains)) this.#add(place(['domains']), 'domains must be an object of domains by name');
    else for (const [name, body] of Object.entries(domains)) this.#readDomain(name, body, place);
  }

  #readDomain(name: string, body: unknown, place: (path: Path) => Place): void {
    const path = ['domains', name];
    const index = this.records.length;
    try {
      const given = objectWith(BODY_FIELDS, body ?? {}, 'the value');
      const record = parsePutRecord(index + 1, { ...given, domain: name });
      const other = this.#indexOf.get(record.domain);
      if (other === undefined) {
        this.#indexOf.set(record.domain, index);
        this.records.push(record);
        this.places.push(place(path));
      } else {
        const first = this.places[other];
        this.#add(place(path), `${shown(name)} is already in ${first?.file}, line ${first?.line}`);
      }
    } catch (error) {
      if (!(error instanceof InvalidRecord)) throw error;
      const field = error.path[0] === 'domain' ? [] : error.path;
      this.#add(place([...path, ...field]), `${shown(name)}: ${error.message}`);
    }
  }

  #add(place: Place, message: string): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push({ ...place, message });
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where the lines of a text begin. */
class LineStarts {
  readonly #starts: number[] = [0];

  constructor(text: string) {
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', end + 1))
      this.#starts.push(end + 1);
  }

  placeOf(offset: number): Pick<Place, 'line' | 'column'> {
    let [low, high] = [0, this.#starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: offset - (this.#starts[low] ?? 0) + 1 };
  }
}
