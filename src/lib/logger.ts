import { ConsoleLogger, type LogLevel } from '@nestjs/common';
import { namingTools } from '../errors/operation-names.js';

/** Nest's own log contexts. An operator does not need their info lines. */
const FRAMEWORK_CONTEXTS = new Set<unknown>([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

/**
 * Nest's console logger without the info lines of the framework. Warnings and errors of the framework stay. Operations
 * in the texts are named as tools.
 */
export class SuiteLogger extends ConsoleLogger {
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
}
