import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The text of `.tools/bin/<name>`. Paths are found from the wrapper's own place, so that a checkout can be
 * moved. `--argv0` names the wrapper by its absolute path, because HAProxy's master re-executes argv[0] on reload;
 * without it that would be the bare program, which cannot run with this machine's older C library.
 */
export function wrapperText({ root, path, kind, loader, libraries, fallbackPath }) {
  const lines = [
    '#!/bin/sh',
    '# Written by scripts/tools.mjs.',
    'self=$(readlink -f -- "$0")',
    `root=${root}`,
  ];
  // The machine's own helpers come first: they are set up for its certificates and proxies.
  if (fallbackPath) lines.push(`PATH=$PATH:${fallbackPath}`, 'export PATH');
  const loaded = `--inhibit-cache --library-path "$root/${libraries}" "$root/${path}"`;
  if (kind === 'dynamic') lines.push(`exec "$root/${loader}" --argv0 "$self" ${loaded} "$@"`);
  else lines.push(`exec "$root/${path}" "$@"`);
  return `${lines.join('\n')}\n`;
}

/** Writes a wrapper unless it stands there already; two processes writing it at once leave one whole file. */
export function writeWrapper(file, text) {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  mkdirSync(dirname(file), { recursive: true });
  const temporary = join(dirname(file), `.${process.pid}.${Math.random().toString(36).slice(2)}`);
  writeFileSync(temporary, text);
  chmodSync(temporary, 0o755);
  renameSync(temporary, file);
}
