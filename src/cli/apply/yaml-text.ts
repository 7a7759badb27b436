import {
  CORE_SCHEMA,
  constructFromEvents,
  type Event,
  EVENT_ID,
  getScalarValue,
  mergeTag,
  NOT_RESOLVED,
  parseEvents,
  SCALAR_STYLE,
  type ScalarEvent,
  YAMLException,
} from 'js-yaml';
import { messageOf } from '../../errors/app-error.js';

/** Where a value is in a document: `['domains', 'example.com', 'servers', 0]`. */
export type Path = readonly (string | number)[];

/** One document of a YAML text. JSON is YAML. */
export interface YamlDocument {
  /** Objects, arrays, texts, numbers, booleans and null. */
  value: unknown;
  /** The offset of the key or item at the path, or of the nearest one around it that the text has itself. */
  readonly offsetOf: (path: Path) => number;
}

/** What is wrong in a text, and its offset. */
export interface YamlProblem {
  offset: number;
  message: string;
}

/** YAML 1.2, with merge keys. */
const SCHEMA = CORE_SCHEMA.withTags(mergeTag);
/** Scalars without quotes that are no text: `null`, `true`, `1`. */
const OTHER_THAN_TEXT = CORE_SCHEMA.tags.filter((tag) => tag.nodeKind === 'scalar' && tag.implicit);
/** The most aliases, and the most keys that `<<` adds. Enough for several in each of many domains. */
const MAX_REFERENCES = 1_000_000;

/** Reads all documents of a text. If there are problems, there are no documents. Each key must be a text, and be given once. */
export function readYaml(source: string): { documents: YamlDocument[]; problems: YamlProblem[] } {
  const reader = new EventReader(source);
  try {
    const events = parseEvents(source, {});
    const roots = reader.read(events);
    if (reader.problems.length > 0) return { documents: [], problems: reader.problems };
    const values = constructFromEvents(events, {
      source,
      schema: SCHEMA,
      // The reader has looked for keys that are given twice, and names all of them.
      json: true,
      maxAliases: MAX_REFERENCES,
      maxTotalMergeKeys: MAX_REFERENCES,
    });
    const documents = values.map((value, index) => ({
      value,
      offsetOf: (path: Path) => offsetOf(roots[index], path),
    }));
    return { documents, problems: [] };
  } catch (error) {
    const problem =
      error instanceof YAMLException
        ? { offset: error.mark?.position ?? 0, message: error.reason }
        : { offset: 0, message: messageOf(error) };
    return { documents: [], problems: [problem] };
  }
}

/** A value and its place. `children` are those of a mapping by key, or of a sequence by index. */
interface PlacedNode {
  offset: number;
  children?: ReadonlyMap<string | number, PlacedNode>;
}

function offsetOf(root: PlacedNode | undefined, path: Path): number {
  let node = root;
  for (const step of path) {
    const next: PlacedNode | undefined = node?.children?.get(step);
    if (!next) break;
    node = next;
  }
  return node?.offset ?? 0;
}

/** Reads the places of all values from the events of a parser, and checks the keys. */
class EventReader {
  readonly problems: YamlProblem[] = [];
  #events: readonly Event[] = [];
  #next = 0;
  /** Where the value before the next event begins, for values that are empty. */
  #last = 0;
  #anchors = new Map<string, PlacedNode>();

  constructor(private readonly source: string) {}

  /** The root of each document. */
  read(events: readonly Event[]): PlacedNode[] {
    this.#events = events;
    const roots: PlacedNode[] = [];
    while (this.#next < events.length) {
      this.#next += 1;
      this.#anchors = new Map();
      const root = this.#isAtEnd() ? undefined : this.#node();
      this.#next += 1;
      roots.push(root ?? { offset: this.#last });
    }
    return roots;
  }

  /** Whether the next event ends the document, mapping or sequence that is being read. */
  #isAtEnd(): boolean {
    return (this.#events[this.#next]?.type ?? EVENT_ID.POP) === EVENT_ID.POP;
  }

  #node(): PlacedNode {
    const event = this.#events[this.#next];
    this.#next += 1;
    switch (event?.type) {
      case EVENT_ID.SCALAR:
        return this.#anchored(event, { offset: this.#offsetOf(event) });
      case EVENT_ID.ALIAS: {
        // Without the `*`.
        const found = this.#anchors.get(this.source.slice(event.anchorStart, event.anchorEnd));
        return { ...found, offset: (this.#last = event.anchorStart - 1) };
      }
      case EVENT_ID.SEQUENCE:
      case EVENT_ID.MAPPING: {
        const children = new Map<string | number, PlacedNode>();
        const node = this.#anchored(event, { offset: (this.#last = event.start), children });
        while (!this.#isAtEnd())
          if (event.type === EVENT_ID.SEQUENCE) children.set(children.size, this.#node());
          else this.#pair(children);
        this.#next += 1;
        return node;
      }
      default:
        throw new Error('invariant: an event that begins a value');
    }
  }

  /** The place of a pair is that of its key. */
  #pair(children: Map<string | number, PlacedNode>): void {
    const event = this.#events[this.#next];
    const key = this.#node();
    const name = event?.type === EVENT_ID.SCALAR ? getScalarValue(this.source, event) : undefined;
    if (name === undefined || event?.type !== EVENT_ID.SCALAR || !isText(event, name)) {
      const written = name === '' ? '~' : (name ?? 'this key');
      this.problems.push({
        offset: key.offset,
        message: `${shown(written)} is not a text: write it in quotes`,
      });
    } else if (children.has(name))
      this.problems.push({ offset: key.offset, message: `${shown(name)} is given twice` });
    const value = this.#node();
    if (name !== undefined && !isMerge(event, name)) children.set(name, { ...value, offset: key.offset });
  }

  #anchored(event: { anchorStart: number; anchorEnd: number }, node: PlacedNode): PlacedNode {
    if (event.anchorStart >= 0)
      this.#anchors.set(this.source.slice(event.anchorStart, event.anchorEnd), node);
    return node;
  }

  #offsetOf({ valueStart, style }: ScalarEvent): number {
    const isQuoted = style === SCALAR_STYLE.SINGLE_QUOTED || style === SCALAR_STYLE.DOUBLE_QUOTED;
    if (valueStart >= 0) this.#last = isQuoted ? valueStart - 1 : valueStart;
    return this.#last;
  }
}

/** Whether a key is a text, or `<<`. */
function isText({ style, tagStart }: ScalarEvent, name: string): boolean {
  if (tagStart >= 0) return false;
  return (
    style !== SCALAR_STYLE.PLAIN ||
    OTHER_THAN_TEXT.every(
      (tag) => tag.nodeKind !== 'scalar' || tag.resolve(name, false, tag.tagName) === NOT_RESOLVED,
    )
  );
}

function isMerge(event: Event | undefined, name: string): boolean {
  return name === '<<' && event?.type === EVENT_ID.SCALAR && event.style === SCALAR_STYLE.PLAIN;
}

/** A text of the file, short and on one line. */
export function shown(text: string): string {
  return /^[\w.*-]{1,80}$/.test(text) ? text : JSON.stringify(text.slice(0, 80));
}
