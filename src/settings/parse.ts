import { isIP } from 'node:net';
import { MAX_PORT } from '../model/server.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** An invalid setting. The operator sees its message as one line. */
export class SettingsError extends Error {
  constructor(variable: string, value: string, allowed: string) {
    super(`${variable}=${JSON.stringify(value)} is not allowed: it must be ${allowed}.`);
    this.name = 'SettingsError';
  }
}

/** The trimmed value; undefined if the variable is not set or empty. */
export function trimmed(env: Environment, name: string): string | undefined {
  const value = env[name]?.trim();
  return value === '' ? undefined : value;
}

export function text(env: Environment, name: string, fallback: string): string {
  const value = trimmed(env, name) ?? fallback;
  if (/\s/.test(value) || hasControlCharacter(value))
    throw new SettingsError(name, value, 'one word without spaces');
  return value;
}

export function integer(env: Environment, name: string, fallback: number, min: number, max: number): number {
  const value = trimmed(env, name);
  if (value === undefined) return fallback;
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max))
    throw new SettingsError(name, value, `a whole number from ${min} to ${max}`);
  return number;
}

export function port(env: Environment, name: string, fallback: number): number {
  return integer(env, name, fallback, 1, MAX_PORT);
}

export function oneOf<T extends string>(
  env: Environment,
  name: string,
  allowed: readonly T[],
  fallback: T,
): T {
  const value = trimmed(env, name) ?? fallback;
  const found = allowed.find((candidate) => candidate.toLowerCase() === value.toLowerCase());
  if (found === undefined) throw new SettingsError(name, value, `one of ${allowed.join(', ')}`);
  return found;
}

/**
 * An absolute path. Spaces, quotes and backslashes are refused, because haproxy.cfg and Runtime API commands contain
 * paths and quote such characters in different ways.
 */
export function path(env: Environment, name: string, fallback: string): string {
  const value = (trimmed(env, name) ?? fallback).replace(/(?<=.)\/+$/, '');
  if (!/^\/[A-Za-z0-9._/@+-]*$/.test(value))
    throw new SettingsError(
      name,
      value,
      'an absolute path that has only the characters A-Z a-z 0-9 . _ / @ + -',
    );
  return value;
}

/** A comma-separated list. An empty value is an empty list; without the variable, the default applies. */
export function list(env: Environment, name: string, fallback: string): readonly string[] {
  return (env[name] ?? fallback)
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** A comma-separated list of values from `allowed`; all of them if the variable is not set or empty. */
export function someOf<T extends string>(
  env: Environment,
  name: string,
  allowed: readonly T[],
): readonly T[] {
  const values = list(env, name, '');
  if (values.length === 0) return allowed;
  return values.map((value) => {
    const found = allowed.find((candidate) => candidate === value.toLowerCase());
    if (found === undefined) throw new SettingsError(name, value, `some of ${allowed.join(', ')}`);
    return found;
  });
}

export function cidrList(env: Environment, name: string, fallback: string): readonly string[] {
  const values = list(env, name, fallback);
  for (const value of values) {
    const [address = '', prefix, ...rest] = value.split('/');
    const family = isIP(address);
    const bits = prefix === undefined ? undefined : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    const fits = bits === undefined || bits <= (family === 4 ? 32 : 128);
    if (family === 0 || !fits || rest.length > 0)
      throw new SettingsError(name, value, 'networks such as 10.0.0.0/8 or fd00::/8, separated by commas');
  }
  return values;
}

function hasControlCharacter(value: string): boolean {
  for (const character of value) if (character < ' ' || character === '\u007F') return true;
  return false;
}
