import { existsSync, lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { capture, foreground, say, ToolError } from './process.mjs';

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Installs the dependencies that package-lock.json names, unless they are all there already. */
export async function ensureDependencies() {
  const modules = join(ROOT, 'node_modules');
  const problem = missingDependency(modules);
  if (!problem) return;
  if (existsSync(modules) && lstatSync(modules).isSymbolicLink()) {
    // `npm ci` would empty the folder that the link leads to, which is somebody else's.
    say(`node_modules is a link, so it is used as it is (${problem}).`);
    return;
  }
  say(`Installing the dependencies with npm ci (${problem}) …`);
  const flags = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const { code, output } = await capture('npm', ['ci', ...flags], { cwd: ROOT }).catch((error) => {
    throw new ToolError(`npm could not be started: ${error.message}`);
  });
  if (code === 0) return;
  if (!lacksForeignPlatformsOnly(output)) throw new ToolError(`npm ci failed:\n${output.trim()}`);
  say(
    'The lock file lacks optional packages of other platforms; npm install takes the rest at its versions …',
  );
  await npm(['install', '--no-save', ...flags]);
}

/**
 * A lock file made against a registry that lacks an optional package for some other platform has no entry for it.
 * `npm ci` refuses that with `Missing: <name>@ from lock file`, the version being unknown to it; a lock file that
 * truly differs from package.json names a version, or says `Invalid`.
 */
function lacksForeignPlatformsOnly(output) {
  const complaints = output.match(/(?:Missing|Invalid): .*/g) ?? [];
  return complaints.length > 0 && complaints.every((line) => /^Missing: \S+@ from lock file$/.test(line));
}

export async function build() {
  say('Building with npm run build …');
  await npm(['run', '--silent', 'build']);
}

async function npm(args) {
  const code = await foreground('npm', args, { cwd: ROOT }).catch((error) => {
    throw new ToolError(`npm could not be started: ${error.message}`);
  });
  if (code !== 0) throw new ToolError(`npm ${args[0]} failed.`);
}

/**
 * Compares what npm says it installed with the lock file, because the time stamps of a fresh checkout say nothing.
 * Packages for other platforms are optional, and absent from one of the two.
 */
function missingDependency(modules) {
  const wanted = lockedPackages(join(ROOT, 'package-lock.json'));
  if (!existsSync(join(modules, '.package-lock.json'))) return 'there are none yet';
  const installed = lockedPackages(join(modules, '.package-lock.json'));
  for (const [path, { version, optional, devOptional }] of Object.entries(wanted)) {
    if (path === '' || installed[path]?.version === version) continue;
    if (optional || devOptional) continue;
    return `${path} is not at ${version}`;
  }
  return undefined;
}

function lockedPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages ?? {};
  } catch (error) {
    throw new ToolError(`${file} cannot be read: ${error.message}`);
  }
}
