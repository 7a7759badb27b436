import { EXIT, UsageError } from './cli/exit-code.js';
import type { LocalCommand } from './cli/local-command.js';

export const COMMAND: LocalCommand = {
  name: 'serve',
  summary: 'Runs the suite. This is the default.',
  usage:
    'Usage: haproxy-suite serve\n' +
    'Runs the suite in the foreground until SIGTERM or SIGINT. Its settings are environment variables.\n',
  async run(args, { env }) {
    if (args.length > 0)
      throw new UsageError('serve takes no arguments. Its settings are environment variables.');
    // Imported here, because only this command needs NestJS, which takes most of the start time.
    const { serve } = await import('./serve.js');
    await serve(env);
    return EXIT.done;
  },
};
