import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { PrivateApt } from './apt.mjs';
import { say, ToolError } from './process.mjs';
import { npmCi, ROOT } from './project.mjs';
import { isForThisMachine, recipeFor, RECIPES } from './recipes.mjs';
import { installRoot } from './root.mjs';
import { programKind, unpack } from './unpack.mjs';
import { wrapperText, writeWrapper } from './wrapper.mjs';

export const TOOLS = join(ROOT, '.tools');

// Increase this number when the layout of an installed tool changes. Tools with another number are installed again.
const FORMAT = 1;

/**
 * Installs a program into `.tools/` unless it is there. Only the first call needs the network.
 * @param {string} program a name from `programs` in recipes.mjs, such as `haproxy-3.2`.
 * @returns {Promise<string>} the absolute path of its wrapper in `.tools/bin`, or of the root folder that it is.
 * @throws {ToolError} with a message for the user.
 */
export async function ensureTool(program) {
  const recipe = recipeFor(program);
  if (!recipe) {
    const known = Object.values(RECIPES).flatMap(({ programs }) => Object.keys(programs));
    throw new ToolError(`There is no tool ${program}. The tools are: ${known.join(', ')}.`);
  }
  if (!isForThisMachine(recipe))
    throw new ToolError(
      `${program} is only for Linux on ${recipe.arch}, and this machine is ${process.platform} on ${process.arch}.`,
    );
  const folder = join(TOOLS, recipe.tool);
  const stamp = readStamp(folder, recipe) ?? (await install(recipe, folder));
  if (recipe.root) return join(folder, 'root');
  for (const [name, text] of Object.entries(stamp.wrappers)) writeWrapper(join(TOOLS, 'bin', name), text);
  return join(TOOLS, 'bin', program);
}

/** The version of an installed tool, or undefined if the tool is missing or incomplete. */
export function installedVersion(tool) {
  return readStamp(join(TOOLS, tool), RECIPES[tool])?.version;
}

function readStamp(folder, recipe) {
  try {
    const stamp = JSON.parse(readFileSync(join(folder, 'stamp.json'), 'utf8'));
    const isCurrent = stamp.format === FORMAT && stamp.arch === process.arch;
    const isComplete = stamp.files.every((file) => existsSync(join(folder, 'root', file)));
    const isWanted = hasSameLockFile(stamp, folder) && stamp.packages?.join() === recipe.root?.join();
    return isCurrent && isComplete && isWanted ? stamp : undefined;
  } catch {
    return undefined;
  }
}

function hasSameLockFile({ npm }, folder) {
  if (npm === undefined) return true;
  const [wanted, installed] = [join(ROOT, npm), join(folder, 'root')].map((place) =>
    readFileSync(join(place, 'package-lock.json'), 'utf8'),
  );
  return wanted === installed;
}

/**
 * Builds the tool in a temporary folder of this process and moves it into place with one rename. A killed run leaves
 * no incomplete tool, and two runs at the same time do not mix their files.
 */
async function install(recipe, folder) {
  removeAbandoned();
  const temporary = join(TOOLS, `.tmp-${process.pid}-${recipe.tool}`);
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  try {
    const built = join(temporary, 'tool');
    const stamp = await build(recipe, join(temporary, 'apt'), built);
    writeFileSync(join(built, 'stamp.json'), `${JSON.stringify(stamp, null, 2)}\n`);
    moveIntoPlace(built, folder, join(temporary, 'old'), recipe);
    say(`${recipe.tool}: ready, ${stamp.version}`);
    return readStamp(folder, recipe) ?? stamp;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

function build(recipe, aptFolder, built) {
  if (recipe.npm) return buildFromNpm(recipe, built);
  if (recipe.root) return buildRoot(recipe, aptFolder, built);
  return buildFromDebian(recipe, aptFolder, built);
}

async function buildRoot({ tool, root: packages, suites, programs }, aptFolder, built) {
  const [suite] = suites;
  say(`${tool}: reading the package lists of Debian ${suite.join(' and ')}`);
  const apt = new PrivateApt(aptFolder, suite);
  await apt.update();
  say(`${tool}: downloading ${packages.join(', ')}, what they need, and the essential packages`);
  const files = await apt.download(['?essential', '?priority(required)', ...packages]);
  say(`${tool}: installing ${files.length} packages into .tools/${tool}/root. This takes two minutes`);
  const version = await installRoot(files, join(built, 'root'));
  const wanted = Object.values(programs);
  return { format: FORMAT, arch: process.arch, tool, version, packages, files: wanted, wrappers: {} };
}

async function buildFromNpm({ tool, npm, programs }, built) {
  const root = join(built, 'root');
  cpSync(join(ROOT, npm), root, { recursive: true });
  say(`${tool}: installing with npm ci into .tools/${tool}`);
  await npmCi(root, []);
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wrappers = {};
  for (const [name, path] of Object.entries(programs))
    wrappers[name] = wrapperText({ root: `${wrapperHome(tool)}/root`, path, kind: 'script' });
  const version = Object.values(dependencies).join(', ');
  return { format: FORMAT, arch: process.arch, tool, version, npm, files: Object.values(programs), wrappers };
}

/** The folder of a tool, as a wrapper in .tools/bin names it: relative to itself. */
function wrapperHome(tool) {
  return `\${self%/bin/*}/${tool}`;
}

async function buildFromDebian(recipe, aptFolder, built) {
  const { apt, version } = await findVersion(recipe, aptFolder);
  say(`${recipe.tool}: downloading ${recipe.package} ${version} and its libraries`);
  const files = await apt.download([`${recipe.package}=${version}`, ...(recipe.also ?? [])]);
  say(`${recipe.tool}: unpacking ${files.length} packages into .tools/${recipe.tool}`);
  const programs = { ...recipe.programs, ...recipe.helpers };
  const wanted = [...new Set([...(recipe.data ?? []), ...Object.values(programs)])];
  const root = join(built, 'root');
  const { loader, libraries } = await unpack(files, root, wanted);

  const { privateLibraries } = recipe;
  const wrapper = async (path, place) =>
    wrapperText({
      path,
      kind: await programKind(root, loader, path),
      loader,
      libraries,
      privateLibraries,
      ...place,
    });
  const home = wrapperHome(recipe.tool);
  const place = { root: `${home}/root`, fallbackPath: recipe.helpers && `${home}/helpers` };
  const wrappers = {};
  for (const [name, path] of Object.entries(recipe.programs)) wrappers[name] = await wrapper(path, place);
  for (const [name, path] of Object.entries(recipe.helpers ?? {}))
    writeWrapper(join(built, 'helpers', name), await wrapper(path, { root: '${self%/helpers/*}/root' }));
  return { format: FORMAT, arch: process.arch, tool: recipe.tool, version, files: wanted, wrappers };
}

async function findVersion(recipe, folder) {
  const seen = [];
  for (const suites of recipe.suites) {
    say(`${recipe.tool}: reading the package lists of Debian ${suites.join(' and ')}`);
    const apt = new PrivateApt(join(folder, suites.join('-')), suites);
    await apt.update();
    const versions = await apt.versions(recipe.package);
    const version = versions.find((candidate) => recipe.version.test(candidate.replace(/^\d+:/, '')));
    if (version) return { apt, version };
    seen.push(`${suites.join(' and ')}: ${versions.join(', ') || 'none'}`);
  }
  throw new ToolError(
    `Debian has no fitting version of ${recipe.tool} (versions of ${recipe.package} in ${seen.join('; ')}). ` +
      'Change its recipe in scripts/lib/recipes.mjs.',
  );
}

/** Replaces `folder` by `built`, unless another run has completed `folder` in the meantime. */
function moveIntoPlace(built, folder, old, recipe) {
  for (let attempt = 1; ; attempt += 1) {
    if (readStamp(folder, recipe)) return;
    try {
      if (existsSync(folder)) renameSync(folder, `${old}-${attempt}`);
      renameSync(built, folder);
      return;
    } catch (error) {
      // Another run moved or replaced the folder between the check and the rename.
      if (attempt === 3 || !['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(error.code)) throw error;
    }
  }
}

/** Removes the temporary folders of processes that no longer run. */
function removeAbandoned() {
  if (!existsSync(TOOLS)) return;
  for (const name of readdirSync(TOOLS)) {
    const pid = Number(/^\.tmp-(\d+)-/.exec(name)?.[1]);
    if (pid && pid !== process.pid && !isAlive(pid))
      rmSync(join(TOOLS, name), { recursive: true, force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
