import { ConsoleLogger } from '@nestjs/common';

/** Where Nest tells about itself: nothing that somebody who runs the suite could use. */
const FRAMEWORK = new Set<unknown>([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

/** Nest's own logger without the framework's chatter; its warnings and errors stay. */
export class SuiteLogger extends ConsoleLogger {
  override log(message: unknown, ...rest: unknown[]): void {
    if (!FRAMEWORK.has(rest.at(-1))) super.log(message, ...rest);
  }
}
