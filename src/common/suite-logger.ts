import { ConsoleLogger } from '@nestjs/common';

/** What Nest says of itself at every start; it is of use to who writes the suite, not to who runs it. */
const FRAMEWORK = new Set([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

/** Nest's logger, with the framework's own chatter at debug level. */
export class SuiteLogger extends ConsoleLogger {
  override log(message: unknown, ...rest: unknown[]): void {
    const context = rest.at(-1);
    if (typeof context === 'string' && FRAMEWORK.has(context)) this.debug(message, context);
    else super.log(message, ...(rest as [string]));
  }
}
