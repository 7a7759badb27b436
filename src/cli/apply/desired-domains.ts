import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  type ParsedNode,
  parseAllDocuments,
  type YAMLMap,
} from 'yaml';
import { messageOf } from '../../errors/app-error.js';
import { parsePutRecord, PUT_FIELDS, type PutRecord } from '../../transfer/put-record.js';
import { InvalidRecord, objectWith } from '../../transfer/record-values.js';
import type { InputFile } from './input-files.js';

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

type Path = readonly (string | number)[];

/** The most problems that are reported. */
const MAX_PROBLEMS = 20;
/**
 * The most times that aliases may repeat their anchors, also inside each other. Enough for an alias in each of many
 * domains. An alias is a reference and no copy, so this limits time and not memory.
 */
const MAX_ALIASES = 100_000;

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
    const lines = new LineCounter();
    // The parser compares each key with each other for uniqueKeys, which takes a minute for 10,000 keys.
    const documents = parseAllDocuments(text, {
      lineCounter: lines,
      merge: true,
      prettyErrors: false,
      uniqueKeys: false,
    });
    if (!Array.isArray(documents)) return;
    for (const document of documents) {
      const at = (offset: number): Place => {
        const { line, col } = lines.linePos(offset);
        return { file: name, line, column: col };
      };
      const known = this.problems.length;
      for (const { pos, message } of [...document.errors, ...document.warnings])
        this.#add(at(pos[0]), message.replace(/\s+/g, ' '));
      if (this.problems.length === known) this.#checkKeys(document.contents, at);
      if (this.problems.length === known) this.#readDocument(document, at);
    }
  }

  /** Each key must be a text, and be given once. */
  #checkKeys(node: ParsedNode | null, at: (offset: number) => Place): void {
    if (isSeq(node)) for (const item of node.items) this.#checkKeys(isNode(item) ? item : null, at);
    if (!isMap(node)) return;
    const seen = new Set<string>();
    for (const { key, value } of node.items) {
      const place = at(key.range[0]);
      const name = isScalar(key) ? key.value : undefined;
      if (typeof name === 'string' && seen.has(name)) this.#add(place, `${shown(name)} is given twice`);
      else if (typeof name === 'string') seen.add(name);
      else if (!isMergeKey(key))
        this.#add(
          place,
          `${shown(String(isScalar(key) ? (key.source ?? key.value) : key))} is not a text: write it in quotes`,
        );
      this.#checkKeys(value, at);
    }
  }

  #readDocument(document: Document.Parsed, at: (offset: number) => Place): void {
    const offsets = new Offsets(document);
    const place = (path: Path) => at(offsets.of(path));
    const root = this.#valueOf(document, place([]));
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

  #valueOf(document: Document.Parsed, place: Place): unknown {
    try {
      return document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (error) {
      this.#add(place, `the aliases cannot be used: ${messageOf(error)}`);
      return undefined;
    }
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

/** `<<` with the merge option. */
function isMergeKey(key: unknown): boolean {
  return isScalar(key) && (key.value === '<<' || typeof key.value === 'symbol') && key.source === '<<';
}

function shown(text: string): string {
  return /^[\w.*-]{1,80}$/.test(text) ? text : JSON.stringify(text.slice(0, 80));
}

/** Finds places in a document. Indexes each object once, because one object can have all domains. */
class Offsets {
  readonly #pairs = new Map<YAMLMap, ReadonlyMap<unknown, Pair>>();

  constructor(private readonly document: Document.Parsed) {}

  /** The offset of the key or item at the path, or of the nearest one around it that the file has itself. */
  of(path: Path): number {
    let node: unknown = this.document.contents;
    let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(this.document);
      const item = isMap(node)
        ? this.#pairsOf(node).get(step)
        : isSeq(node)
          ? node.items[Number(step)]
          : undefined;
      const found = isPair(item) ? item.key : item;
      if (!isNode(found)) return offset;
      offset = found.range?.[0] ?? offset;
      node = isPair(item) ? item.value : item;
    }
    return offset;
  }

  #pairsOf(map: YAMLMap): ReadonlyMap<unknown, Pair> {
    const known =
      this.#pairs.get(map) ??
      new Map(map.items.map((pair) => [isScalar(pair.key) ? pair.key.value : pair.key, pair]));
    this.#pairs.set(map, known);
    return known;
  }
}
