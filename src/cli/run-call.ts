import { once } from 'node:events';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as delay } from 'node:timers/promises';
import { Writable } from 'node:stream';
import { type ErrorCode, type Problem } from '../errors/app-error.js';
import { notInDetail } from '../errors/invalid-fields.js';
import { openContent, requireComplete, toRequest, type Values } from './call.js';
import { CommandError, EXIT, UsageError } from './exit-code.js';
import type { CommandIo } from './local-command.js';
import { optionOf } from './option-names.js';
import { type CliOperation, CURSOR_FIELD, fieldOf, LIMIT_FIELD, WAIT_FIELD } from './operations/operation.js';
import { type Call, waitsByDefault } from './program.js';
import { besideItems, itemsOf, linesOf, objectLines, plainText } from './render/answer.js';
import { paintFor } from './render/colour.js';
import { visible, visibleJson } from '../lib/safe-text.js';
import { type Row, type Table, type TableOptions, tableOf } from './render/table.js';
import type { SuiteAnswer, SuiteClient, SuiteRequest } from './suite-client.js';
import { wordOf } from './word.js';

/** How often a running operation is asked for its progress. */
const POLL_MS = 500;
/** The items of a page, if all pages are read. */
const ALL_LIMIT = 1000;
/** The columns of a table fit this many rows. Later rows are written page by page, so that a list of any length needs little memory. */
const MEASURED_ROWS = 20_000;
/** The width of a terminal that does not say its own. */
const DEFAULT_COLUMNS = 80;
const UNREACHABLE: ReadonlySet<ErrorCode> = new Set(['haproxy_unavailable', 'shutting_down']);

type Body = Record<string, unknown>;

interface Accepted {
  operation: { id: string };
}

interface RunningOperation {
  status: 'running' | 'succeeded' | 'failed' | 'interrupted';
  progress: { at: string; message: string }[];
  result?: Body;
  error?: Problem;
}

/** Runs one call of an operation: sends the request, and shows the answer. */
export class CallRunner {
  readonly #table: TableOptions;
  #hasWritten = false;

  constructor(
    private readonly client: SuiteClient,
    private readonly operations: readonly CliOperation[],
    private readonly io: CommandIo,
    private readonly named: (text: string) => string,
  ) {
    const { columns } = io.stdout as { columns?: number };
    this.#table = {
      // A terminal whose size nobody has set says 0.
      width: io.stdout.isTTY ? columns || DEFAULT_COLUMNS : undefined,
      paint: paintFor(io),
      textOf: (value) => visible(named(plainText(value))),
    };
  }

  /** Returns the exit code. @throws CommandError */
  async run(call: Call): Promise<number> {
    try {
      return await this.#run(call);
    } catch (error) {
      if (error instanceof CommandError) error.isOnStdout = this.#hasWritten;
      throw error;
    }
  }

  async #run(call: Call): Promise<number> {
    const { operation } = call;
    const wait = fieldOf(operation, WAIT_FIELD);
    const follow = wait !== undefined && (call.wait || waitsByDefault(wait));
    const values = follow ? { ...call.values, [WAIT_FIELD]: false } : call.values;
    if (operation.content && call.file === undefined)
      throw new UsageError(`${operation.command} needs <file>. Name a file, or - for stdin.`);
    requireComplete(operation, values, call.body);
    if (call.all && fieldOf(operation, CURSOR_FIELD)) return this.#runPages(call);
    const request = toRequest(operation, values, call.body);
    const answer = await this.#send(
      call.file === undefined ? request : { ...request, content: await openContent(call.file) },
      call,
    );
    if (!answer.isJson) return this.#pass(answer);
    const text = await this.client.read(answer);
    if (answer.status !== 202) return this.#finish(call, parse(text), text);
    const accepted = parse(text) as unknown as Accepted;
    if (!follow) return this.#showAccepted(call, accepted, text);
    const result = await this.#follow(accepted.operation.id, call);
    return this.#finish(call, result, JSON.stringify(result));
  }

  /** @throws CommandError with the problem that the suite answers */
  async #send(request: SuiteRequest, call: Pick<Call, 'operation' | 'json'>): Promise<SuiteAnswer> {
    const answer = await this.client.send(request);
    if (answer.status < 400) return answer;
    const text = await this.client.read(answer);
    if (call.json) await this.#write(`${visibleJson(text.trimEnd())}\n`);
    throw this.#refused(parse(text) as unknown as Problem, call.operation);
  }

  #refused(problem: Problem, operation: CliOperation): CommandError {
    const { code, status, detail } = problem;
    const more = notInDetail(problem).map(({ field, message }) => `${field} ${message}`);
    const text = status === 401 ? this.client.unauthorized : [detail, ...more].join(' ');
    const message = visible(withOptions(this.named(text), operation));
    return new CommandError(`${code}: ${message}`, UNREACHABLE.has(code) ? EXIT.unreachable : EXIT.failed);
  }

  /** Shows the result, waits until a domain is healthy, and compares the result with what the caller hopes for. */
  async #finish(call: Call, body: Body, text: string): Promise<number> {
    if (call.json) await this.#write(`${visibleJson(text.trimEnd())}\n`);
    else await this.#show(body);
    if (body['dry_run'] === true) return EXIT.done;
    if (call.wait && call.operation.becomesHealthy) return this.#waitHealthy(call);
    return isWanted(call.operation, body) ? EXIT.done : EXIT.unwanted;
  }

  async #show(body: Body): Promise<void> {
    const items = itemsOf(body);
    if (!items) return this.#writeLines((options) => linesOf(body, options));
    const table = tableOf(items, this.#table);
    await this.#showBeside(body);
    if (items.length === 0) this.#note('There is nothing to list.');
    else await this.#write([table.header, ...items.map((row) => table.line(row))].join('\n').concat('\n'));
    this.#noteLeft(table.left);
    const { next_cursor: next, total } = body as { next_cursor: string | null; total: number };
    if (next !== null)
      this.#note(
        `${items.length} of ${total} are shown. --all shows all, --cursor ${visible(next)} the next page.`,
      );
  }

  async #showBeside(body: Body): Promise<void> {
    const beside = besideItems(body);
    if (Object.keys(beside).length > 0)
      await this.#writeLines((options) => [...objectLines(beside, options), '']);
  }

  /** Writes lines, and notes the columns that tables inside them have no space for. */
  async #writeLines(render: (options: TableOptions) => string[]): Promise<void> {
    const left: string[] = [];
    const lines = render({ ...this.#table, onLeft: (columns) => left.push(...columns) });
    if (lines.length > 0) await this.#write(lines.join('\n').concat('\n'));
    this.#noteLeft([...new Set(left)]);
  }

  #noteLeft(left: readonly string[]): void {
    if (left.length > 0)
      this.#note(
        `The terminal is too narrow for ${left.join(', ')}. --json has all, and so has the output to a pipe.`,
      );
  }

  async #runPages(call: Call): Promise<number> {
    const { operation, json } = call;
    const firstPage: Values = { [LIMIT_FIELD]: ALL_LIMIT, ...call.values };
    let values = firstPage;
    let table: Table | undefined;
    let waiting: Row[] = [];
    for (let first = true; ; first = false) {
      const answer = await this.#send(toRequest(operation, values, call.body), call);
      const body = parse(await this.client.read(answer));
      const {
        items = [],
        next_cursor: next,
        ...rest
      } = body as { items?: unknown[]; next_cursor?: string | null };
      const isLast = next === null || next === undefined;
      if (json) {
        const start = first ? '{"items":[' : items.length > 0 ? ',' : '';
        const end = isLast ? `],${JSON.stringify({ next_cursor: null, ...rest }).slice(1)}\n` : '';
        await this.#write(
          visibleJson(`${start}${items.map((item) => JSON.stringify(item)).join(',')}${end}`),
        );
      } else {
        const rows = itemsOf(body) ?? [];
        if (first) await this.#showBeside(body);
        if (first && rows.length === 0) this.#note('There is nothing to list.');
        waiting.push(...rows);
        if (waiting.length > 0 && (table || isLast || waiting.length >= MEASURED_ROWS)) {
          const shown = table ?? tableOf(waiting, this.#table);
          const header = table ? [] : [shown.header];
          await this.#write([...header, ...waiting.map((row) => shown.line(row))].join('\n').concat('\n'));
          table = shown;
          waiting = [];
        }
      }
      if (isLast) break;
      values = { ...firstPage, [CURSOR_FIELD]: next };
    }
    if (table) this.#noteLeft(table.left);
    return EXIT.done;
  }

  async #showAccepted(call: Call, { operation }: Accepted, text: string): Promise<number> {
    if (call.json) await this.#write(`${visibleJson(text.trimEnd())}\n`);
    else await this.#write(linesOf({ operation }, this.#table).slice(1).join('\n').concat('\n'));
    this.#note(
      `It runs in the background. Follow it with haproxy-suite operations get ${visible(operation.id)}, or use --wait next time.`,
    );
    return EXIT.done;
  }

  /** Waits for the end of an operation. If a signal ends the command, it says that the operation continues. */
  async #follow(id: string, call: Call): Promise<Body> {
    const explain = (signal: NodeJS.Signals) => {
      this.#note(
        `The operation continues in the suite. Follow it with haproxy-suite operations get ${visible(id)}.`,
      );
      // The process ends as it would without this listener, which is called once.
      process.kill(process.pid, signal);
    };
    process.once('SIGINT', explain).once('SIGTERM', explain);
    try {
      return await this.#result(id, call);
    } finally {
      process.off('SIGINT', explain).off('SIGTERM', explain);
    }
  }

  /** With the progress on stderr. @throws CommandError if the operation does not succeed */
  async #result(id: string, call: Call): Promise<Body> {
    const get = this.#operation('haproxy_get_operation');
    let last = '';
    for (;;) {
      const answer = await this.#send(toRequest(get, { id }), { operation: get, json: false });
      const { status, progress, result, error } = parse(
        await this.client.read(answer),
      ) as unknown as RunningOperation;
      const keys = progress.map(({ at, message }) => `${at} ${message}`);
      for (const { message } of progress.slice(keys.lastIndexOf(last) + 1)) this.#note(`… ${message}`);
      last = keys.at(-1) ?? last;
      if (status === 'succeeded') return result ?? {};
      if (status === 'failed' || status === 'interrupted') {
        if (call.json && error) await this.#write(`${visibleJson(JSON.stringify(error))}\n`);
        // The detail says what the operation left, and what finishes it.
        if (status === 'interrupted')
          throw new CommandError(
            error
              ? this.#refused(error, call.operation).message
              : 'The suite stopped before the operation ended. Its result is not known.',
            EXIT.unwanted,
          );
        throw error
          ? this.#refused(error, call.operation)
          : new CommandError('The operation failed.', EXIT.failed);
      }
      await delay(POLL_MS);
    }
  }

  async #waitHealthy({ operation, values, body }: Call): Promise<number> {
    const waiting = this.#operation('haproxy_wait_healthy');
    const domain = values['domain'] ?? body?.['domain'];
    this.#note(`… Waiting until ${wordOf(domain)} is healthy`);
    const answer = await this.#send(toRequest(waiting, { domain }), { operation, json: false });
    const result = parse(await this.client.read(answer));
    this.#note(`${wordOf(domain)} is ${plainText(result['status'])}: ${plainText(result['detail'])}`);
    return isWanted(waiting, result) ? EXIT.done : EXIT.unwanted;
  }

  /** Passes lines of JSON on as they come. */
  async #pass({ stream }: SuiteAnswer): Promise<number> {
    const decoder = new StringDecoder('utf8');
    for await (const chunk of stream) await this.#write(visibleJson(decoder.write(chunk as Buffer)));
    return EXIT.done;
  }

  #operation(tool: string): CliOperation {
    const found = this.operations.find((operation) => operation.tool === tool);
    if (!found) throw new Error(`There is no operation ${tool}.`);
    return found;
  }

  /** Progress and notes go to stderr, so that they are not in the output of a pipe. */
  #note(text: string): void {
    this.io.stderr.write(`${visible(this.named(text))}\n`);
  }

  /** Waits until the reader has taken what was written, so that a slow reader does not fill the memory. */
  async #write(text: string): Promise<void> {
    const { stdout } = this.io;
    this.#hasWritten = true;
    stdout.write(text);
    if (stdout instanceof Writable && stdout.writableNeedDrain) await once(stdout, 'drain');
  }
}

function isWanted({ wanted = {} }: CliOperation, body: Body): boolean {
  return Object.entries(wanted).every(([field, value]) => [value].flat().includes(body[field]));
}

/** Names a field as the option that sets it, where an error begins with its name. */
function withOptions(text: string, { fields }: CliOperation): string {
  return fields.reduce(
    (current, field) =>
      field.in === 'path' || field.items
        ? current
        : current.replace(new RegExp(`(^|[;.] )${field.name}(?= (?:must|is) )`), `$1${optionOf(field)}`),
    text,
  );
}

function parse(text: string): Body {
  try {
    return JSON.parse(text) as Body;
  } catch {
    throw new CommandError(
      'The answer of the suite is not JSON. A proxy in front of it may have cut it.',
      EXIT.unreachable,
    );
  }
}
