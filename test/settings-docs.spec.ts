import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
/** systemd or the terminal sets them for the processes that it starts. */
const NOT_SET_BY_OPERATORS = new Set(['INVOCATION_ID', 'SYSTEMD_EXEC_PID', 'JOURNAL_STREAM', 'TERM']);

describe('The documentation of the settings', () => {
  it('names every environment variable that src/settings reads', () => {
    const folder = join(ROOT, 'src/settings');
    const code = readdirSync(folder)
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('\n');
    const names = [
      ...code.matchAll(
        /\((?:env|variable), '(?<name>[A-Z][A-Z0-9_]+)'|(?:conf\(|unixPath\()'(?<path>[A-Z][A-Z0-9_]+)'/g,
      ),
    ]
      .map(({ groups }) => groups?.['name'] ?? groups?.['path'] ?? '')
      .filter((name) => !NOT_SET_BY_OPERATORS.has(name));
    const docs = ['README.md', 'docs/certificates.md']
      .map((name) => readFileSync(join(ROOT, name), 'utf8'))
      .join('\n');
    expect(new Set(names).size).toBeGreaterThan(40);
    expect([...new Set(names)].filter((name) => !docs.includes(`\`${name}\``))).toEqual([]);
  });

  it('names every environment variable that another folder of src reads', () => {
    const folder = join(ROOT, 'src');
    const code = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('\n');
    const names = [...code.matchAll(/\benv(?:ironment)?\['(?<name>[A-Z]\w+)'\]/g)]
      .map(({ groups }) => groups?.['name'] ?? '')
      .filter((name) => !NOT_SET_BY_OPERATORS.has(name));
    const docs = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)]
      .filter((name) => name.endsWith('.md'))
      .map((name) => readFileSync(join(ROOT, name), 'utf8'))
      .join('\n');
    expect(new Set(names)).toContain('HAPROXY_SUITE_URL');
    expect([...new Set(names)].filter((name) => !new RegExp(`\\b${name}\\b`).test(docs))).toEqual([]);
  });
});
