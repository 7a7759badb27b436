import { UsageError } from '../exit-code.js';
import type { CommandIo, LocalCommand } from '../local-command.js';
import { loadOperations } from '../operations/load-operations.js';
import { candidatesFor, type LocalWords } from './candidates.js';
import { COMPLETION_SCRIPTS } from './scripts.js';

/** A shell waits for the candidates at each press of Tab. */
const ASK_MS = 1000;
const DOMAINS_SHOWN = 200;

const SHELLS = Object.keys(COMPLETION_SCRIPTS);

/** Prints the completion script of a shell. The script calls `completion --words` for the candidates. */
export function completionCommand(
  localNames: readonly string[],
  load: (name: string) => Promise<LocalCommand | undefined>,
): LocalCommand {
  const locals: LocalWords = {
    names: localNames,
    async wordsOf(name, current, position) {
      if (name === 'completion') return position === 1 ? SHELLS : [];
      return current.startsWith('-') ? optionsIn((await load(name))?.usage ?? '') : [];
    },
  };
  return {
    name: 'completion',
    summary: `Prints the completion script of a shell: ${SHELLS.join(', ')}.`,
    usage:
      `Usage: haproxy-suite completion ${SHELLS.join(' | ')}\n` +
      'Prints the script that completes commands, options and the domains of the running suite.\n' +
      'Example:\n  source <(haproxy-suite completion bash)\n',
    async run([first = '', ...words], io) {
      if (first === '--words') {
        const find = (prefix: string) => domainsFrom(prefix, io);
        const candidates = await candidatesFor(words, loadOperations(), locals, find);
        io.stdout.write(candidates.map((candidate) => `${candidate}\n`).join(''));
        return 0;
      }
      const script = Object.hasOwn(COMPLETION_SCRIPTS, first) ? COMPLETION_SCRIPTS[first] : undefined;
      if (script === undefined || words.length > 0)
        throw new UsageError(`Name one shell: haproxy-suite completion ${SHELLS.join(' | ')}.`);
      io.stdout.write(script);
      return 0;
    },
  };
}

/** The help of a command names its options. */
function optionsIn(usage: string): string[] {
  return [...(usage.match(/(?<![\w-])--[a-z][a-z-]*/g) ?? []), '--help'];
}

/** Empty if the suite does not answer in time: an error would be written into the line that the user types. */
async function domainsFrom(prefix: string, { env }: CommandIo): Promise<string[]> {
  try {
    // Imported here, because most words need no suite.
    const [{ SuiteClient }, { findTarget }] = await Promise.all([
      import('../suite-client.js'),
      import('../target.js'),
    ]);
    const client = new SuiteClient(await findTarget({}, env));
    const query = new URLSearchParams({
      search: prefix,
      limit: String(DOMAINS_SHOWN),
      include_wildcards: 'true',
    });
    const answer = await client.send({
      method: 'GET',
      path: `/api/v1/domains?${query.toString()}`,
      timeoutMs: ASK_MS,
    });
    const { items = [] } = JSON.parse(await client.read(answer)) as { items?: { domain: string }[] };
    // Only the characters of a domain, so that no answer can become a command of the shell.
    return items.map(({ domain }) => domain).filter((domain) => /^[\w.*-]+$/.test(domain));
  } catch {
    return [];
  }
}
