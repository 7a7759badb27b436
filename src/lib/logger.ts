import { ConsoleLogger, type ConsoleLoggerOptions, type LogLevel } from '@nestjs/common';
import { namingTools } from '../errors/operation-names.js';
import { journalStreams, priorityPrefix } from './machine/journal.js';

/** Nest's own log contexts. An operator does not need their info lines. */
const FRAMEWORK_CONTEXTS = new Set<unknown>([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

export interface SuiteLoggerOptions extends ConsoleLoggerOptions {
  /** JOURNAL_STREAM. */
  journalStream?: string | undefined;
  /** The id of the request that this code works for; undefined outside of a request. */
  requestId?: () => string | undefined;
}

/**
 * Nest's console logger without the info lines of the framework. Warnings and errors of the framework stay. Operations
 * in the texts are named as tools. Lines to the systemd journal have their priority, and lines of a request its id.
 */
export class SuiteLogger extends ConsoleLogger {
  readonly #journal: ReadonlySet<'stdout' | 'stderr'>;
  readonly #requestId: () => string | undefined;

  constructor({ journalStream, requestId = () => undefined, ...options }: SuiteLoggerOptions) {
    super(options);
    this.#journal = journalStreams(journalStream);
    this.#requestId = requestId;
  }

  override log(message: unknown, ...rest: unknown[]): void {
    if (!FRAMEWORK_CONTEXTS.has(rest.at(-1))) super.log(message, ...rest);
  }

  /** All levels print with this method. */
  protected override printMessages(
    messages: unknown[],
    ...rest: [
      context?: string,
      logLevel?: LogLevel,
      writeStreamType?: 'stdout' | 'stderr',
      errorStack?: unknown,
      params?: Record<string, unknown>,
    ]
  ): void {
    super.printMessages(
      messages.map((message) => (typeof message === 'string' ? namingTools(message) : message)),
      ...rest,
    );
  }
  protected override printAsJson(
    message: unknown,
    options: Parameters<ConsoleLogger['printAsJson']>[1],
  ): void {
    const stream = options.writeStreamType ?? 'stdout';
    if (this.#journal.has(stream)) process[stream].write(priorityPrefix(options.logLevel));
    super.printAsJson(message, options);
  }

  protected override getJsonLogObject(
    ...given: Parameters<ConsoleLogger['getJsonLogObject']>
  ): ReturnType<ConsoleLogger['getJsonLogObject']> {
    const requestId = this.#requestId();
    return { ...super.getJsonLogObject(...given), ...(requestId !== undefined && { requestId }) };
  }
}
