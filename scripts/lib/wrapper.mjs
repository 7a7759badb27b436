import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The text of the shell script `.tools/bin/<name>`. Its paths are relative to the script, so a checkout can be moved.
 * `--argv0` is the absolute path of the script, because the HAProxy master executes argv[0] on a reload. Without it the
 * master would execute the program itself, which cannot run with the older C library of the machine.
 */
export function wrapperText({ root, path, kind, loader, libraries, privateLibraries, fallbackPath }) {
  const lines = [
    '#!/bin/sh',
    '# Written by scripts/tools.mjs.',
    'self=$(readlink -f -- "$0")',
    `root=${root}`,
  ];
  // The helpers of the machine come first, because they know its certificates and proxies.
  if (fallbackPath) lines.push(`PATH=$PATH:${fallbackPath}`, 'export PATH');
  const folders = [libraries, privateLibraries && `${libraries}/${privateLibraries}`].filter(Boolean);
  const libraryPath = folders.map((folder) => `$root/${folder}`).join(':');
  const loaded = `--inhibit-cache --library-path "${libraryPath}" "$root/${path}"`;
  if (kind === 'dynamic') lines.push(`exec "$root/${loader}" --argv0 "$self" ${loaded} "$@"`);
  else lines.push(`exec "$root/${path}" "$@"`);
  return `${lines.join('\n')}\n`;
}

/** Writes a wrapper if its text has changed. The rename keeps the file complete if two processes write it. */
export function writeWrapper(file, text) {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  mkdirSync(dirname(file), { recursive: true });
  const temporary = join(dirname(file), `.${process.pid}.${Math.random().toString(36).slice(2)}`);
  writeFileSync(temporary, text);
  chmodSync(temporary, 0o755);
  renameSync(temporary, file);
}
