import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PrivateApt } from './apt.mjs';
import { say, ToolError } from './process.mjs';
import { ROOT } from './project.mjs';
import { recipeFor, RECIPES } from './recipes.mjs';
import { programKind, unpack } from './unpack.mjs';
import { wrapperText, writeWrapper } from './wrapper.mjs';

export const TOOLS = join(ROOT, '.tools');

// Grows when what is unpacked, or how, changes; tools unpacked by an older recipe are then fetched anew.
const FORMAT = 1;

/**
 * Makes sure that a program is in `.tools/bin` and returns the path of its wrapper. Fetches it from Debian's
 * packages the first time, and needs no network after that.
 * @param {string} program a wrapper's name: haproxy-3.0, haproxy-3.2, haproxy-3.4, acme.sh, pebble,
 *   pebble-challtestsrv, curl-http3, caddy or wrk.
 * @returns {Promise<string>} an absolute path.
 * @throws {ToolError} with a message for the user.
 */
export async function ensureTool(program) {
  const recipe = recipeFor(program);
  if (!recipe) {
    const known = Object.values(RECIPES).flatMap(({ programs }) => Object.keys(programs));
    throw new ToolError(`There is no tool ${program}. Known are: ${known.join(', ')}.`);
  }
  const folder = join(TOOLS, recipe.tool);
  const stamp = readStamp(folder) ?? (await install(recipe, folder));
  for (const [name, text] of Object.entries(stamp.wrappers)) writeWrapper(join(TOOLS, 'bin', name), text);
  return join(TOOLS, 'bin', program);
}

/** Version of an installed tool; undefined where it is missing or was not completed. */
export function installedVersion(tool) {
  return readStamp(join(TOOLS, tool))?.version;
}

function readStamp(folder) {
  try {
    const stamp = JSON.parse(readFileSync(join(folder, 'stamp.json'), 'utf8'));
    const whole = stamp.files.every((file) => existsSync(join(folder, 'root', file)));
    return stamp.format === FORMAT && stamp.arch === process.arch && whole ? stamp : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Everything happens in a folder of this process and becomes visible by one rename, so that a run that is killed
 * leaves nothing that looks complete and two runs at once cannot mix their files.
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
    put(built, folder, join(temporary, 'old'));
    say(`${recipe.tool}: ready, ${stamp.version}`);
    return readStamp(folder) ?? stamp;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function build(recipe, aptFolder, built) {
  const { apt, version } = await findVersion(recipe, aptFolder);
  say(`${recipe.tool}: downloading ${recipe.package} ${version} and its libraries`);
  const files = await apt.download([`${recipe.package}=${version}`, ...(recipe.also ?? [])]);
  say(`${recipe.tool}: unpacking ${files.length} packages into .tools/${recipe.tool}`);
  const programs = { ...recipe.programs, ...recipe.helpers };
  const wanted = [...new Set([...(recipe.data ?? []), ...Object.values(programs)])];
  const root = join(built, 'root');
  const { loader, libraries } = await unpack(files, root, wanted);

  const wrapper = async (path, place) =>
    wrapperText({ path, kind: await programKind(root, loader, path), loader, libraries, ...place });
  const home = `\${self%/bin/*}/${recipe.tool}`;
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
  throw new ToolError(`Debian no longer carries ${recipe.tool} (${recipe.package} in ${seen.join('; ')}).`);
}

/** Puts a finished folder in its place; what stands there is replaced unless another run completed it meanwhile. */
function put(built, folder, old) {
  for (let attempt = 1; ; attempt += 1) {
    if (readStamp(folder)) return;
    try {
      if (existsSync(folder)) renameSync(folder, `${old}-${attempt}`);
      renameSync(built, folder);
      return;
    } catch (error) {
      // Another run moved the folder away or put its own there between our look and our rename.
      if (attempt === 3 || !['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(error.code)) throw error;
    }
  }
}

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
