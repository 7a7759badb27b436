import { createInterface } from 'node:readline/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../errors/app-error.js';
import { findRuntimeApi } from '../../haproxy/config/runtime-api.js';
import { visibleLines } from '../../lib/safe-text.js';
import { LocalSuite } from '../../settings/local-suite.js';
import { runFiles } from '../../settings/run-files.js';
import { loadSettings } from '../../settings/settings.js';
import { CommandError, EXIT } from '../exit-code.js';
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
  try {
    const options = parseOptions(name, args);
    if (options.help) {
      io.stdout.write(USAGE[name]);
      return EXIT.done;
    }
    return await carryOut(options, io);
  } catch (error) {
    io.stderr.write(`haproxy-suite ${name}: ${visibleLines(messageOf(error))}\n`);
    return error instanceof CommandError ? error.exitCode : EXIT.failed;
  }
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
  const say = (text: string) => io.stdout.write(`${visibleLines(text)}\n`);
  if (refusals.length > 0) {
    io.stderr.write(`Nothing was changed.\n${refusals.map((line) => `- ${visibleLines(line)}\n`).join('')}`);
    return EXIT.failed;
  }
  for (const line of steps.length > 0 ? describePlan(steps) : []) say(line);
  for (const line of notes) say(`Note: ${line}`);
  if (steps.length === 0) say(idle);
  if (steps.length === 0 || options.dryRun) return EXIT.done;
  if (!options.yes && !(await isConfirmed(io))) {
    say('Nothing was changed.');
    return EXIT.failed;
  }
  for (const step of steps) await execute(step, options, io);
  say(done);
  return EXIT.done;
}

async function execute(step: Step, { root, command }: InstallOptions, io: CommandIo): Promise<void> {
  try {
    await executeStep(step, root);
  } catch (error) {
    throw new Error(
      `${describeStep(step)}: ${messageOf(error)}\nRun haproxy-suite ${command} again when this is corrected: it continues here.`,
      { cause: error },
    );
  }
  if (io.stdout.isTTY === true) io.stdout.write(`done: ${visibleLines(describeStep(step))}\n`);
}

/** Asks only a person: without a terminal, the answer is yes. */
async function isConfirmed(io: CommandIo): Promise<boolean> {
  if (io.stdout.isTTY !== true || !process.stdin.isTTY) return true;
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
