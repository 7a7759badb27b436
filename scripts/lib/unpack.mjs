import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { capture, ToolError } from './process.mjs';

/**
 * Unpacks packages and keeps from them only the shared libraries and the named paths, under `root`. The rest
 * (set-uid programs of `passwd`, documentation, maintainer files) has no business in a checkout.
 */
export async function unpack(files, root, wanted) {
  const all = `${root}.all`;
  mkdirSync(all, { recursive: true });
  for (const file of files) {
    const { code, output } = await capture('dpkg-deb', ['-x', file, all]);
    if (code !== 0) throw new ToolError(`dpkg-deb could not unpack ${file}: ${output.trim()}`);
  }
  const libraries = readdirSync(join(all, 'usr/lib'))
    .filter((name) => /^[a-z0-9_]+-linux-gnu/.test(name))
    .map((name) => `usr/lib/${name}`);
  for (const path of [...libraries, ...wanted]) {
    if (existsSync(join(root, path))) continue;
    if (!existsSync(join(all, path))) throw new ToolError(`The Debian packages no longer hold ${path}.`);
    mkdirSync(dirname(join(root, path)), { recursive: true });
    move(join(all, path), join(root, path));
  }
  rmSync(all, { recursive: true, force: true });
  return { libraries: libraries[0], loader: findLoader(root, libraries[0]) };
}

function move(from, to) {
  // A program may be a link to another path, which would dangle once moved.
  if (lstatSync(from).isSymbolicLink()) cpSync(from, to, { dereference: true });
  else renameSync(from, to);
}

const LOADER = /^(?:ld-linux.*|ld64)\.so\.\d$/;

/** The packages' own dynamic loader: ld-linux-x86-64.so.2, ld-linux-aarch64.so.1 and so on. */
function findLoader(root, libraries) {
  const name = libraries && readdirSync(join(root, libraries)).find((file) => LOADER.test(file));
  return name && `${libraries}/${name}`;
}

/** How a program has to be started: through the loader, by itself (static), or by the machine's shell. */
export async function programKind(root, loader, path) {
  const file = join(root, path);
  if (readFileSync(file).subarray(0, 2).toString() === '#!') return 'script';
  if (!loader) return 'static';
  // ld.so(8): --verify tells whether the program is dynamically linked and this loader can handle it.
  const { code } = await capture(join(root, loader), ['--verify', file]);
  return code === 0 || code === 2 ? 'dynamic' : 'static';
}
