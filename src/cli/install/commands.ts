import { createInterface } from 'node:readline/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../errors/app-error.js';
import { findRuntimeApi } from '../../haproxy/config/runtime-api.js';
import { visibleJson, visibleLines } from '../../lib/safe-text.js';
import { LocalSuite } from '../../settings/local-suite.js';
import { runFiles } from '../../settings/run-files.js';
import { loadSettings } from '../../settings/settings.js';
import { codeOf, CommandError, EXIT } from '../exit-code.js';
import type { CommandIo, LocalCommand } from '../local-command.js';
import { executeStep } from './execute.js';
import { targetIn } from '../../lib/machine/image-root.js';
import { type Manifest, parseManifest } from './manifest.js';
import { type CommandName, type InstallOptions, parseOptions } from './options.js';
import { HOME, MANIFEST, QUADLET } from './places.js';
import type { Plan } from './plan.js';
import { planInstall } from './plan-install.js';
import { planUninstall } from './plan-uninstall.js';
import {
  homeOwner,
  neededPorts,
  pathsOf,
  probeHost,
  probeNode,
  readSuiteEnv,
  readText,
} from './facts/probe.js';
import { mainOf, ownPackage, readRelease, type Release } from './release.js';
import { describePlan, describeStep, type Step } from './steps.js';
import { valueOf } from './unit-text.js';
import { USAGE } from './usage.js';
import { chooseUser, type Sources, wanted } from './wanted.js';

export const INSTALL = command('install', 'Install the suite as a service');
export const UPGRADE = command('upgrade', 'Replace the installed version with this one');
export const UNINSTALL = command('uninstall', 'Remove what install brought; the data stay');

function command(name: CommandName, summary: string): LocalCommand {
  return { name, summary, usage: USAGE[name], run: (args, io) => run(name, args, io) };
}

async function run(name: CommandName, args: readonly string[], io: CommandIo): Promise<number> {
  const options = parseOptions(name, args);
  if (options.help) {
    io.stdout.write(USAGE[name]);
    return EXIT.done;
  }
  return carryOut(options, io);
}

/** A plan, and what is said when nothing is left to do and when everything is done. */
interface Work extends Plan {
  idle: string;
  done: string;
}

async function carryOut(options: InstallOptions, io: CommandIo): Promise<number> {
  const { refusals, steps, notes, idle, done } = await (options.command === 'uninstall'
    ? uninstallWork(options)
    : installWork(options));
  const report = new Report(options, io);
  if (refusals.length > 0) return report.refused(refusals);
  report.plan(steps, notes);
  const isOver = steps.length === 0 || options.dryRun;
  if (steps.length === 0) report.say(idle);
  if (!isOver && !options.yes && !(await isConfirmed(options, io))) {
    report.say('Nothing was changed.');
    return EXIT.failed;
  }
  if (!isOver) {
    for (const step of steps) await report.during(step, () => executeStep(step, options.root));
    report.say(done);
  }
  report.end();
  return EXIT.done;
}

/** What the command prints: lines for people, or one JSON object at the end. */
class Report {
  readonly #steps: { action: Step['do']; text: string; done: boolean }[] = [];
  readonly #said: string[] = [];
  #notes: readonly string[] = [];

  constructor(
    private readonly options: InstallOptions,
    private readonly io: CommandIo,
  ) {}

  say(text: string): void {
    if (this.options.json) this.#said.push(text);
    else this.io.stdout.write(`${visibleLines(text)}\n`);
  }

  plan(steps: readonly Step[], notes: readonly string[]): void {
    this.#notes = notes;
    for (const step of steps) this.#steps.push({ action: step.do, text: describeStep(step), done: false });
    if (this.options.json) return;
    for (const line of steps.length > 0 ? describePlan(steps) : []) this.say(line);
    for (const line of notes) this.say(`Note: ${line}`);
  }

  /** @throws CommandError that names the step */
  async during(step: Step, work: () => Promise<void>): Promise<void> {
    const text = describeStep(step);
    try {
      await work();
    } catch (error) {
      const detail = `${text}: ${messageOf(error)}\nRun haproxy-suite ${this.options.command} again when this is corrected: it continues here.`;
      const failure = new CommandError(detail, EXIT.failed);
      if (this.options.json) {
        failure.isOnStdout = true;
        this.#json({ code: codeOf(EXIT.failed), detail });
      }
      throw failure;
    }
    const next = this.#steps.find(({ done }) => !done);
    if (next) next.done = true;
    if (!this.options.json && this.io.stdout.isTTY === true) this.say(`done: ${text}`);
  }

  /** Says why nothing is done. Returns the exit code. */
  refused(refusals: readonly string[]): number {
    this.io.stderr.write(
      `Nothing was changed.\n${refusals.map((line) => `- ${visibleLines(line)}\n`).join('')}`,
    );
    const errors = refusals.map((message) => ({ message }));
    if (this.options.json) this.#json({ code: codeOf(EXIT.failed), detail: 'Nothing was changed.', errors });
    return EXIT.failed;
  }

  end(): void {
    if (this.options.json) this.#json({ detail: this.#said.join('\n') });
  }

  #json(values: object): void {
    const { command, dryRun } = this.options;
    const applied = this.#steps.length > 0 && this.#steps.every(({ done }) => done);
    const value = { command, dry_run: dryRun, applied, steps: this.#steps, notes: this.#notes, ...values };
    this.io.stdout.write(`${visibleJson(JSON.stringify(value, undefined, 2))}\n`);
  }
}

/** Asks only a person: without a terminal, and with --json, the answer is yes. */
async function isConfirmed({ json }: InstallOptions, io: CommandIo): Promise<boolean> {
  if (json || io.stdout.isTTY !== true || !process.stdin.isTTY) return true;
  const reader = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(?:es)?$/i.test((await reader.question('Do this? [y/N] ')).trim());
  } finally {
    reader.close();
  }
}

async function installWork(options: InstallOptions): Promise<Work> {
  const { root, isLive, takeOver } = options;
  const command = options.command === 'upgrade' ? 'upgrade' : 'install';
  const manifest = readManifest(root);
  const mode = options.mode ?? manifest?.mode ?? 'systemd';
  const release = readRelease(ownPackage());
  const home = homeOwner(root);
  const user = manifest ? manifest.user : chooseUser(mode, home.name, home.isNew);
  const sources = readSources(release, user);
  const node = await probeNode(root, isLive);
  const config = targetIn(root, `${HOME}/conf/haproxy.cfg`);
  const image = options.image ?? (manifest ? valueOf(readText(targetIn(root, QUADLET)), 'Image') : undefined);
  const runtimeApi = findRuntimeApi(config, runFiles(`${HOME}/run`).runtimeSocket);
  const want = wanted({ mode, user, node: node.path, image, runtimeApi }, sources, release);
  const settings = loadSettings({ ...want.environment, ...readSuiteEnv(root) }, () => runtimeApi);
  const { url } = new LocalSuite(settings);
  const readyUrl = `${url}/readyz`;
  const host = await probeHost({
    root,
    isLive,
    node,
    readyUrl,
    paths: pathsOf(want, manifest),
    user: want.user,
  });
  const ports = neededPorts(settings, readText(config));
  const plan = planInstall(host, want, manifest, { command, takeOver, ports, readyUrl });
  return { ...plan, ...words(options, manifest, release, url) };
}

/** The last lines for people: what is there now, and the next command. */
function words(
  { command, isLive, root }: InstallOptions,
  manifest: Manifest | undefined,
  release: Release,
  url: string,
): Pick<Work, 'idle' | 'done'> {
  const first = `Add the first site: haproxy-suite domains add example.com --ip 10.0.0.1`;
  if (!isLive)
    return {
      idle: `Nothing to do: ${release.id} is in ${root}.`,
      done: `${release.id} is in ${root}. Its services start when the machine boots.\n${first}`,
    };
  const ready = `The suite is ready: ${url}`;
  const former = manifest?.release === release.id ? manifest.previous : manifest?.release;
  if (command === 'install' || former === undefined)
    return {
      idle: `Nothing to do: ${release.id} is installed and ready.\n${first}`,
      done: `${ready}\n${first}`,
    };
  const back = `To go back: node ${mainOf(former)} upgrade`;
  return {
    idle: `Nothing to do: ${release.id} is installed and ready. To install another version, run this command of it: node NEW/dist/main.js upgrade\n${back}`,
    done: `${ready}\n${release.id} runs in place of ${former}. ${back}`,
  };
}

async function uninstallWork({ root, isLive }: InstallOptions): Promise<Work> {
  const manifest = readManifest(root);
  const host = await probeHost({
    root,
    isLive,
    readyUrl: '',
    user: undefined,
    node: { path: process.execPath, version: process.version },
    paths: pathsOf(undefined, manifest),
  });
  return {
    ...planUninstall(host, manifest),
    idle: 'Nothing to do: this command has installed nothing here.',
    done: 'The suite is removed.',
  };
}

function readManifest(root: string): Manifest | undefined {
  const path = targetIn(root, MANIFEST);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return parseManifest(text, path);
}

/** The units of the package. They are written once, in deploy/. */
function readSources({ source }: Release, user: string | undefined): Sources {
  const deploy = (name: string) => readFileSync(join(source, 'deploy', name), 'utf8');
  const units = user === undefined ? 'systemd' : 'systemd/haproxy-user';
  return {
    suiteUnit: deploy(`${units}/haproxy-mcp.service`),
    haproxyUnit: deploy(`${units}/haproxy.service`),
    managed: deploy('systemd/haproxy-mcp.managed.conf'),
    quadlet: deploy('quadlet/haproxy.container'),
  };
}
