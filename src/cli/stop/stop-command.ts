import { EXIT, UsageError } from '../exit-code.js';
import { HAPROXY_UNIT, isSystemdRunning, SUITE_UNIT } from '../../haproxy/process/systemd.js';
import { HOME } from '../install/places.js';
import { readUnit, systemctl } from '../install/facts/systemd.js';
import type { CommandIo, LocalCommand } from '../local-command.js';
import { parseLocal } from '../local-options.js';
import { readProcesses, stopHaproxyOfSuite, stopSuite } from './process-files.js';

const USAGE = `haproxy-suite stop --all

Stops the suite and its HAProxy, in this order. The sites are not served until both start again.
Units of systemd are stopped with systemctl. Other processes are found by the files in
$HAPROXY_HOME/run (default /opt/haproxy). HAProxy finishes its connections for up to 10 seconds.

To stop only the suite, while HAProxy serves: systemctl stop haproxy-mcp

  --all     stop both (required)
  --help    show this text

Exit codes: 0 both are stopped, or nothing ran; 1 one still runs; 2 wrong use.
`;

export const COMMAND: LocalCommand = {
  name: 'stop',
  summary: 'Stop the suite and HAProxy',
  usage: USAGE,
  run,
};

async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const { values } = parseLocal('stop', { args: [...args], options: { all: { type: 'boolean' } } });
  if (values.all !== true) throw new UsageError('stop needs --all, and stops the suite and HAProxy.');
  const stopped = await stopAll(io.env['HAPROXY_HOME']?.replace(/(?<=.)\/+$/, '') || HOME);
  io.stdout.write(
    stopped.length === 0 ? 'Nothing to do: neither runs.\n' : `Stopped ${stopped.join(', ')}.\n`,
  );
  return EXIT.done;
}

/** Stops both. @returns what was stopped, for people. @throws Error if something still runs */
async function stopAll(home: string): Promise<string[]> {
  const stopped: string[] = [];
  if (home === HOME && isSystemdRunning()) {
    for (const unit of [SUITE_UNIT, HAPROXY_UNIT])
      if (await isUnitOf(unit, home)) {
        await systemctl(['stop', unit]);
        stopped.push(unit);
      }
  }
  const { suite } = readProcesses(home);
  if (suite) {
    await stopSuite(suite);
    stopped.push(`the suite (pid ${suite.pid})`);
  }
  for (const { pid } of await stopHaproxyOfSuite(home)) stopped.push(`HAProxy (pid ${pid})`);
  return stopped;
}

/** haproxy.service of Debian can run another HAProxy, with its own files. */
async function isUnitOf(unit: string, home: string): Promise<boolean> {
  const { isActive } = await readUnit(unit);
  if (!isActive || unit === SUITE_UNIT) return isActive;
  return (await systemctl(['show', unit, '--property=ExecStart'])).includes(`${home}/`);
}
