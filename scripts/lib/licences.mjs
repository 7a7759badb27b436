import { readdir, readFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { ToolError } from './process.mjs';

/** @typedef {{ name: string, version: string, license: string, author: string, folder: string }} Package */

const MODULES = `${sep}node_modules${sep}`;

/**
 * The packages of these files, sorted by name and version, each once.
 * @param {readonly string[]} files absolute paths. Those outside of node_modules are our own.
 * @returns {Promise<Package[]>}
 */
export async function packagesOf(files) {
  const packages = new Map();
  for (const folder of new Set(files.map((file) => packageFolder(file)))) {
    if (folder === undefined) continue;
    const { name, version, license, author } = JSON.parse(
      await readFile(join(folder, 'package.json'), 'utf8'),
    );
    packages.set(`${name} ${version}`, { name, version, license, author: author?.name ?? author, folder });
  }
  return [...packages].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, found]) => found);
}

/** `…/node_modules/NAME` of a file; undefined for a file that is in no package. */
function packageFolder(file) {
  const start = file.lastIndexOf(MODULES);
  if (start < 0) return undefined;
  const from = start + MODULES.length;
  const parts = file.slice(from).split(sep);
  return file.slice(0, from) + parts.slice(0, parts[0].startsWith('@') ? 2 : 1).join(sep);
}

/** Packages name the licences of what they contain themselves in `NAME.js.LICENSE.txt`. */
const LICENCE_FILE = /^(?:licen[cs]e|copying|notice)(?:[.-].*)?$|\.LICENSE\.txt$/i;

/**
 * The text of dist/LICENSES.txt: the licence of each package, and the notices that its authors want to be passed on.
 * @param {readonly Package[]} packages
 * @throws {ToolError} if a package names no licence, or has no text of it
 */
export async function licenceText(packages) {
  const parts = [];
  for (const found of packages) {
    const { name, version, license } = found;
    const texts = await licenceTexts(found);
    if (typeof license !== 'string' || texts.length === 0)
      throw new ToolError(
        `The bundle contains ${name} ${version}, which has no file with its licence (${license}).`,
      );
    parts.push(`${name} ${version} (${license})\n${'-'.repeat(80)}\n${texts.join('\n\n')}\n`);
  }
  return `HAProxy Suite contains the following packages.\n\n${parts.join('\n\n')}`;
}

async function licenceTexts({ folder, license, author }) {
  const names = (await readdir(folder)).filter((name) => LICENCE_FILE.test(name)).toSorted();
  const texts = await Promise.all(
    names.map(async (name) => (await readFile(join(folder, name), 'utf8')).trim()),
  );
  // A package that says only `"license": "MIT"` means this text.
  if (texts.length === 0 && license === 'MIT' && author !== undefined) texts.push(mitText(author));
  return [...new Set(texts)];
}

function mitText(author) {
  return `Copyright (c) ${author}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
}
