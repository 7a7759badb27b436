import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { linksOf } from './kit/links.js';

const ROOT = join(import.meta.dirname, '..');

const documents = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'deploy/README.md'],
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

const folders = readdirSync(join(ROOT, 'src'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
/** `src/model/state.ts`, or as the architecture page writes it, `model/state.ts`. */
const SOURCE = new RegExp(String.raw`(?<![\w./-])(?:src/)?(?:${folders.join('|')})/[\w./-]*\.ts\b`, 'g');

describe.each(documents)('%s', (document) => {
  const text = readFileSync(join(ROOT, document), 'utf8');

  it('names only source files that exist', () => {
    const named = [...text.matchAll(SOURCE)].map(([path]) =>
      path.startsWith('src/') ? path : `src/${path}`,
    );
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('links only to files that exist', () => {
    const folder = join(ROOT, document, '..');
    expect(linksOf(text).filter((target) => !existsSync(join(folder, target)))).toEqual([]);
  });
});
