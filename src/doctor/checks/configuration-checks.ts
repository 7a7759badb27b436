import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseTokens } from '../../access/token-store.js';
import { ManagedCertificates } from '../../certificates/managed-certificates.js';
import { checkStart } from '../../haproxy/config/check/check-start.js';
import { configReport } from '../../haproxy/config/check/config-check.service.js';
import { describeMessage, findRequirements } from '../../haproxy/config/check/find-requirements.js';
import { currentStarter } from '../../haproxy/config/check/process-requirements.js';
import { parseConfig } from '../../haproxy/config/config-parser.js';
import type { ConfigMessage } from '../../haproxy/config/config-messages.js';
import { rulesWarnings } from '../../haproxy/config/suite/rules-warnings.js';
import { toCheck } from '../../haproxy/config/suite/suite-rules.service.js';
import { HaproxyControlService } from '../../haproxy/process/haproxy-control.service.js';
import { HaproxyProcessService } from '../../haproxy/process/haproxy-process.service.js';
import { findingsOf } from '../../health/config-health.js';
import { quote } from '../../lib/shell-quote.js';
import { EventFeed } from '../../signals/event-feed.js';
import { parseState } from '../../storage/formats/servers-json.js';
import { parseJournal } from '../../storage/state-journal.js';
import { AdoptionRecord } from '../../reconciler/adoption/adoption-record.js';
import { denialOf, presenceOf, textOf } from '../facts/users.js';
import { type CheckResult, error, type Finding, NotRun, warning } from '../finding.js';
import type { Host } from '../host.js';
import { hide } from './certificate-checks.js';
import type { HostCheck } from './check-type.js';

export const CONFIGURATION_CHECKS: readonly HostCheck[] = [
  { subject: 'configuration', name: 'the files are there', run: filesArePresent },
  { subject: 'configuration', name: 'HAProxy and the suite accept the configuration', run: check },
  { subject: 'configuration', name: 'the frontends use the rules of the suite', run: rules },
  { subject: 'configuration', name: 'the suite can read its files at a start', run: startFiles },
];

async function filesArePresent({ settings, mending }: Host): Promise<Finding[]> {
  const { home, files, folders } = settings;
  if ((await presenceOf(home)) === 'missing')
    return [
      error(
        `There is no folder ${home}: the suite is not installed there.`,
        'haproxy-suite install --systemd',
      ),
    ];
  const notFolders: string[] = [];
  for (const path of [join(home, 'conf'), join(home, 'data'), folders.certs, folders.run])
    if (await isNoFolder(path)) notFolders.push(path);
  if (notFolders.length > 0) {
    const moves = notFolders.map((path) => `mv ${quote(path)} ${quote(`${path}.before`)} && `);
    return [
      error(
        `${notFolders.join(', ')} is a file, and the suite needs a folder there, so it cannot start.`,
        `${moves.join('')}${mending.restartSuite()}`,
      ),
    ];
  }
  const wanted = [files.config, files.pools, files.map];
  const present = await Promise.all(wanted.map((path) => presenceOf(path)));
  const missing = wanted.filter((_, index) => present[index] === 'missing');
  if (missing.length === 0) return [];
  // The suite writes all of them at its start.
  return [
    error(
      `${missing.join(', ')} does not exist, and HAProxy cannot start without it.`,
      mending.restartSuite(),
    ),
  ];
}

/** False if nothing is there: the suite creates the folder at its start. */
function isNoFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => !found.isDirectory(),
    () => false,
  );
}

/** As `haproxy_check_config`, but with suite.cfg as it is on disk, because the doctor writes no file. */
async function check(host: Host): Promise<Finding[] | undefined> {
  const { settings, runtime, mending } = host;
  const { folders } = settings;
  const { config, pools, suite } = settings.files;
  if ((await presenceOf(config)) === 'missing') return undefined;
  await requireReadable(host);
  await requireHarmless(host);
  const control = new HaproxyControlService(
    settings,
    runtime,
    new HaproxyProcessService(settings, runtime, new EventFeed()),
  );
  const isSameUser = (await host.suiteUser()).uid === host.self.uid;
  const [result, requirements, start] = await Promise.all([
    control.check().catch((failure: Error) => {
      throw new NotRun(failure.message);
    }),
    findRequirements(settings),
    checkStart(settings, isSameUser ? currentStarter() : null),
  ]);
  const report = configReport(toCheck(result), requirements, start);
  const { problems, notes } = findingsOf(report);
  const isEmpty = (await host.sections()).length === 0;
  const edit = (messages: readonly ConfigMessage[]) => {
    if (isEmpty) return `mv ${quote(config)} ${quote(`${config}.empty`)} && ${mending.restartSuite()}`;
    // A file of `certs/` is not mended by a change of the line that names the folder.
    const isCertificate = ({ message }: ConfigMessage) => message.includes(`${folders.certs}/`);
    const others = messages.filter((one) => !isCertificate(one));
    const bad = new RegExp(`${folders.certs}/[^\\s'",;:]+`).exec(messages.find(isCertificate)?.message ?? '');
    if (others.length === 0 && bad) return hide(bad[0]);
    const at = others.find(({ file }) => file !== null);
    // The suite generates the other files from haproxy.cfg and the state, and writes them again.
    return at?.file === pools || at?.file === suite
      ? mending.edit(config, null)
      : mending.edit(at?.file ?? config, at?.line ?? null);
  };
  return [
    ...problems.map((problem) => error(problem, edit(report.errors))),
    ...notes.map((problem) => warning(problem, edit(report.notes))),
  ];
}

/** HAProxy would refuse files that only this user may not read. */
async function requireReadable({ settings, self }: Host): Promise<void> {
  const { files, folders } = settings;
  for (const path of [files.config, files.suite, files.pools, files.map, folders.certs])
    if ((await denialOf(path, self, 'r')) || (await presenceOf(path)) === 'unseen')
      throw new NotRun(`This user may not read ${path}.`, true);
}

/** Lines with which `haproxy -c` runs code from a file. A word with other characters can stand for one of them. */
const RUNS_CODE = /^(?:lua-|ssl-engine|ssl-provider)|[^\w.-]/;

/** `haproxy -c` as root must run nothing that the user of the suite chose. */
async function requireHarmless(host: Host): Promise<void> {
  const { settings, isRoot } = host;
  if (!isRoot || settings.control === 'podman') return;
  await host.requireTrusted(settings.haproxyBin);
  const user = await host.suiteUser();
  if (user.uid === 0) return;
  const { config, suite, pools } = settings.files;
  for (const path of [suite, config, pools]) {
    const lines = parseConfig((await textOf(path)) ?? '', path).flatMap((section) => section.lines);
    const found = lines.find(({ words }) => RUNS_CODE.test(words[0] ?? ''));
    if (found)
      throw new NotRun(
        `Root does not check the files, because ${path}:${found.line} runs code, and the suite runs as ${user.name}. Check them with {haproxy_check_config}.`,
      );
  }
}

async function rules(host: Host): Promise<Finding[]> {
  const { files, control } = host.settings;
  const loaded = await host.runtime.loadedRules().then(
    (version) => version ?? 'none',
    () => 'unknown',
  );
  const lacksFile = loaded === 'none' && control !== 'managed' && existsSync(files.suite);
  const found = rulesWarnings(await host.sections(), { files, control, lacksFile });
  return found.map((one) => warning(describeMessage(one), host.mending.edit(files.config, one.line)));
}

/** The files that the suite parses at its start, with the same parsers. The suite creates those that are missing. */
async function startFiles({ settings, mending }: Host): Promise<CheckResult> {
  const { servers, journal, certificates, adoption, token } = settings.files;
  const parsers: [path: string, parse: (path: string) => Promise<unknown>][] = [
    [servers, async (path) => parseState(await readFile(path, 'utf8'), path)],
    [journal, async (path) => parseJournal(await readFile(path, 'utf8'), path)],
    [certificates, () => new ManagedCertificates(settings, new EventFeed()).open()],
    [adoption, (path) => new AdoptionRecord(path).load()],
    [token, async (path) => parseTokens(await readFile(path, 'utf8'), path)],
  ];
  const findings: Finding[] = [];
  const hidden: string[] = [];
  let present = 0;
  for (const [path, parse] of parsers) {
    if ((await presenceOf(path)) === 'missing') continue;
    present += 1;
    try {
      await parse(path);
    } catch (failure) {
      const { code, message } = failure as NodeJS.ErrnoException;
      // The suite that runs can delete its journal at any time.
      if (code === 'ENOENT') continue;
      if (code !== undefined) {
        hidden.push(path);
        continue;
      }
      const line = message.startsWith(`${path}:`)
        ? /^:(\d+)/.exec(message.slice(path.length))?.[1]
        : undefined;
      findings.push(
        error(
          `The next start of the suite would fail: ${message}`,
          mending.edit(path, line === undefined ? null : Number(line)),
        ),
      );
    }
  }
  if (present === 0) return undefined;
  if (hidden.length === 0) return findings;
  return { findings, notRun: new NotRun(`This user may not read ${hidden.join(', ')}.`, true) };
}
