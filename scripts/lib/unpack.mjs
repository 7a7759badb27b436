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
 * Unpacks Debian packages and keeps only their shared libraries and the `wanted` paths, below `root`. Other files, such
 * as the set-uid programs of `passwd`, do not belong in a checkout.
 * @returns `libraries`, the library folder, and `loader`, the dynamic loader, both relative to `root`.
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
    if (!existsSync(join(all, path)))
      throw new ToolError(
        `The Debian packages do not contain ${path}. Change the recipe in scripts/lib/recipes.mjs.`,
      );
    mkdirSync(dirname(join(root, path)), { recursive: true });
    move(join(all, path), join(root, path));
  }
  rmSync(all, { recursive: true, force: true });
  return { libraries: libraries[0], loader: findLoader(root, libraries[0]) };
}

function move(from, to) {
  // A moved symbolic link would lose its target, so its target is copied.
  if (lstatSync(from).isSymbolicLink()) cpSync(from, to, { dereference: true });
  else renameSync(from, to);
}

const LOADER = /^(?:ld-linux.*|ld64)\.so\.\d$/;

/** The dynamic loader of the packages, such as ld-linux-x86-64.so.2 or ld-linux-aarch64.so.1. */
function findLoader(root, libraries) {
  const name = libraries && readdirSync(join(root, libraries)).find((file) => LOADER.test(file));
  return name && `${libraries}/${name}`;
}

/** How to start a program: `dynamic` with the loader of the packages, `static` and `script` directly. */
export async function programKind(root, loader, path) {
  const file = join(root, path);
  if (readFileSync(file).subarray(0, 2).toString() === '#!') return 'script';
  if (!loader) return 'static';
  // ld.so(8): --verify checks that the program is dynamically linked and that this loader can handle it.
  const { code } = await capture(join(root, loader), ['--verify', file]);
  return code === 0 || code === 2 ? 'dynamic' : 'static';
}
