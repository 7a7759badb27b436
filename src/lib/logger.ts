import { ConsoleLogger } from '@nestjs/common';

/** Nest's own log contexts. An operator does not need their info lines. */
const FRAMEWORK_CONTEXTS = new Set<unknown>([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

/** Nest's console logger without the info lines of the framework. Warnings and errors of the framework stay. */
export class SuiteLogger extends ConsoleLogger {
  override log(message: unknown, ...rest: unknown[]): void {
    if (!FRAMEWORK_CONTEXTS.has(rest.at(-1))) super.log(message, ...rest);
  }
}
