import { visibleJson } from '../lib/safe-text.js';
import { withCommands } from './command-names.js';
import { EXIT } from './exit-code.js';
import type { CommandIo, LocalCommand } from './local-command.js';
import { parseLocal } from './local-options.js';
import { isColourful } from './render/colour.js';

const USAGE = `Usage: haproxy-suite doctor [--json] [--strict] [--domains NAME,NAME] [--name-servers IP[:PORT],IP]
Examines this host, the suite and HAProxy, and prints the command that mends each fault. Changes nothing.
--json          Prints the report as JSON.
--strict        Warnings count as errors for the exit code.
--domains       The domains whose DNS is checked. Default: the first 50 of the suite.
--name-servers  The name servers to ask. Default: those of this machine.
Exit code: 0 no errors, 4 at least one error, 2 wrong arguments. Run it as root to check everything.
`;

/** `haproxy-suite doctor` */
export const COMMAND: LocalCommand = {
  name: 'doctor',
  summary: 'Examine this host and say how to mend what is wrong',
  usage: USAGE,
  run,
};

async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { stdout, env } = io;
  const { values } = parseLocal('doctor', {
    args: [...args],
    options: {
      json: { type: 'boolean' },
      strict: { type: 'boolean' },
      domains: { type: 'string' },
      'name-servers': { type: 'string' },
    },
  });
  // Imported here, because the help shows the summary of each command, and the checks load much.
  const [{ examine }, { isUnwanted, renderReport }] = await Promise.all([
    import('../doctor/doctor.js'),
    import('../doctor/report.js'),
  ]);
  const examined = await examine(env, {
    domains: listOf(values.domains),
    nameServers: listOf(values['name-servers']),
  });
  const report = {
    ...examined,
    findings: examined.findings.map((one) => ({
      ...one,
      problem: withCommands(one.problem),
      fix: withCommands(one.fix),
    })),
    not_run: examined.not_run.map((one) => ({ ...one, reason: withCommands(one.reason) })),
  };
  const text =
    values.json === true
      ? `${visibleJson(JSON.stringify(report, null, 2))}\n`
      : renderReport(report, isColourful(io));
  stdout.write(text);
  return isUnwanted(report, values.strict === true) ? EXIT.unwanted : EXIT.done;
}

function listOf(text: string | undefined): string[] | undefined {
  return text
    ?.split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}
