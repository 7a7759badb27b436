import { existsSync, lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BuildStamp } from './build-stamp.mjs';
import { capture, foreground, say, ToolError } from './process.mjs';

/** The folder of this checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Installs the dependencies of package-lock.json, unless all of them are installed. */
export async function ensureDependencies() {
  const modules = join(ROOT, 'node_modules');
  const problem = missingDependency(modules);
  if (!problem) return;
  if (existsSync(modules) && lstatSync(modules).isSymbolicLink()) {
    // `npm ci` would empty the target of the link, which belongs to another checkout.
    say(`node_modules is a symbolic link. It is used as it is, although ${problem}.`);
    return;
  }
  say(`Installing the dependencies with npm ci, because ${problem} …`);
  await npmCi(ROOT, ['--include=dev']);
}

/**
 * Installs the packages of `folder/package-lock.json` into `folder/node_modules`. Install scripts do not run.
 * @throws {ToolError} if npm fails.
 */
export async function npmCi(folder, options) {
  const flags = [...options, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const { code, output } = await capture('npm', ['ci', ...flags], { cwd: folder }).catch(npmNotStarted);
  if (code === 0) return;
  if (!lacksForeignPlatformsOnly(output)) throw new ToolError(`npm ci failed:\n${output.trim()}`);
  say('The lock file lacks optional packages of other platforms. Installing with npm install instead …');
  await npm(['install', '--no-save', ...flags], folder);
}

/**
 * A registry may lack an optional package of another platform. A lock file made with that registry has no entry for
 * the package, and `npm ci` refuses it with `Missing: <name>@ from lock file`, without a version. If the lock file
 * differs from package.json, the message has a version or says `Invalid`.
 */
function lacksForeignPlatformsOnly(output) {
  const complaints = output.match(/(?:Missing|Invalid): .*/g) ?? [];
  return complaints.length > 0 && complaints.every((line) => /^Missing: \S+@ from lock file$/.test(line));
}

/** Builds, unless dist/ is the build of the present sources. */
export async function build() {
  const stamp = new BuildStamp(ROOT);
  if (stamp.isCurrent()) {
    say('The build in dist/ is up to date.');
    return;
  }
  say('Building with npm run build …');
  await npm(['run', '--silent', 'build'], ROOT);
  stamp.write();
}

async function npm(args, folder) {
  const code = await foreground('npm', args, { cwd: folder }).catch(npmNotStarted);
  if (code !== 0) throw new ToolError(`npm ${args[0]} failed. Its output is above.`);
}

function npmNotStarted(error) {
  throw new ToolError(`npm did not start: ${error.message}`);
}

/**
 * Compares the installed packages with the lock file, because the file times of a fresh checkout say nothing.
 * Optional packages are skipped: npm does not install those of other platforms.
 * @returns {string | undefined} a clause such as `node_modules/x is not version 1.2.3`.
 */
function missingDependency(modules) {
  const wanted = lockedPackages(join(ROOT, 'package-lock.json'));
  if (!existsSync(join(modules, '.package-lock.json'))) return 'none are installed';
  const installed = lockedPackages(join(modules, '.package-lock.json'));
  for (const [path, { version, optional, devOptional }] of Object.entries(wanted)) {
    if (path === '' || installed[path]?.version === version) continue;
    if (optional || devOptional) continue;
    return `${path} is not version ${version}`;
  }
  return undefined;
}

function lockedPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages ?? {};
  } catch (error) {
    throw new ToolError(`${file} is not readable: ${error.message}`);
  }
}
