import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { type Role, ROLES } from '../contract/role.js';
import { messageOf } from '../errors/app-error.js';
import { quote } from '../lib/shell-quote.js';
import { isTime } from '../model/options/date-time.js';
import { findScopeProblem, Scope, SCOPE_KEYS, type ScopeFields } from '../model/scope/scope.js';
import { duplicateKeys, parseJson } from '../storage/formats/json-document.js';

/** The name of a token: what the audit log shows as the actor. */
export const TOKEN_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
export const TOKEN_NAME_RULE =
  'a name of 1 to 63 characters a-z 0-9 . _ - that begins with a letter or a digit, and none of admin, readonly, suite, expiry, unknown';
/** Actors that are no token of the file. */
const RESERVED = new Set(['admin', 'readonly', 'suite', 'expiry', 'unknown']);
/** The most tokens in the file. */
export const MAX_TOKENS = 10_000;
/** More than `MAX_TOKENS` tokens have. */
const MAX_BYTES = 8 * 1024 * 1024;

/** The fields of a token that this version knows. A token with another field is not valid: the field could limit it. */
const FIELDS: ReadonlySet<string> = new Set(['name', 'sha256', 'role', 'expires_at', ...SCOPE_KEYS]);

/** A token of `TOKENS_FILE`. Its secret is not known, only the SHA-256 of it. */
export interface NamedToken {
  readonly name: string;
  /** 64 hexadecimal digits, in lower case. */
  readonly sha256: string;
  readonly role: Role;
  /** Milliseconds since the epoch; undefined for a token that does not expire. */
  readonly expiresAt: number | undefined;
  /** What the token is limited to; undefined for a token with no limit but its role. */
  readonly scope: Scope | undefined;
}

/** An entry of the file that gives no access, and why. `name` is not checked. */
export interface UnusableToken {
  readonly name: string;
  readonly reason: string;
}

export interface TokensFile {
  readonly tokens: readonly NamedToken[];
  readonly unusable: readonly UnusableToken[];
  /** Everything that the file has, to be written again. */
  readonly entries: readonly unknown[];
}

const NO_TOKENS: TokensFile = { tokens: [], unusable: [], entries: [] };

/** The whole file cannot be used. The message is one line that says what to do, and has no content of the file. */
export class TokensFileError extends Error {
  constructor(
    /** `mode`, `owner`: other users can read or change it. `access`: the user of this process may not read it. */
    readonly kind: 'mode' | 'owner' | 'access' | 'content',
    message: string,
    /** The line of the error in the file. */
    readonly line: number | null = null,
  ) {
    super(message);
    this.name = 'TokensFileError';
  }
}

export function isTokenName(name: string): boolean {
  return TOKEN_NAME.test(name) && !RESERVED.has(name);
}

/** Changes when the content or the mode of the file changes. */
export function versionOfFile(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
  return stats ? [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':') : 'missing';
}

/** The command that gives the file to the user of the suite. */
export function takeOwnership(path: string, uid: number): string {
  return `chown ${uid} ${quote(path)}`;
}

/** Reads the file. A missing file has no tokens. `uid` is the user of the suite. @throws TokensFileError */
export function readTokensFile(path: string, uid = process.geteuid?.() ?? 0): TokensFile {
  let text: string;
  try {
    // A FIFO without a writer would stop the whole suite.
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(descriptor);
      // Its owner can write tokens into it, whatever its mode is.
      if (stats.uid !== 0 && stats.uid !== uid)
        throw new TokensFileError(
          'owner',
          `It belongs to the user ${stats.uid}, and not to the user of the suite (${uid}) or root. If its tokens are yours, run ${takeOwnership(path, uid)}`,
        );
      const mode = stats.mode & 0o777;
      if ((mode & 0o077) !== 0)
        throw new TokensFileError(
          'mode',
          `Other users of this machine may read or write it (mode ${mode.toString(8)}). Run chmod 600 ${quote(path)}`,
        );
      if (!stats.isFile() || stats.size > MAX_BYTES)
        throw new TokensFileError('content', `It is no file of at most ${MAX_BYTES} bytes. Replace it.`);
      text = readFileSync(descriptor, 'utf8');
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (error instanceof TokensFileError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return NO_TOKENS;
    throw new TokensFileError(
      'access',
      `It cannot be read: ${messageOf(error)}. Give the user of the suite permission to read it.`,
    );
  }
  return parseTokensFile(text);
}

function refuse(reason: string, line: number | null = null): never {
  throw new TokensFileError(
    'content',
    `${reason} It must be {"tokens": [{"name": …, "sha256": …, "role": …}]}. Repair it, or delete it to revoke all its tokens.`,
    line,
  );
}

/** Pure. @throws TokensFileError */
export function parseTokensFile(text: string): TokensFile {
  const parsed = parseJson(text);
  if (!parsed.ok) return refuse(`Line ${parsed.line} is ${parsed.reason}.`, parsed.line);
  if (!isObject(parsed.value)) return refuse('It is not a JSON object.');
  const { tokens: entries, ...others } = parsed.value;
  if (Object.keys(others).length > 0) return refuse('It has other keys than tokens.');
  if (!Array.isArray(entries)) return refuse('It has no list tokens.');
  if (entries.length > MAX_TOKENS) return refuse(`It has more than ${MAX_TOKENS} tokens.`);
  const twice = duplicateKeys(text);
  if (twice.some((path) => path.length === 1)) return refuse('It has the key tokens twice.');
  const inEntries = new Map(twice.map(([, index, key]) => [Number(index), String(key)]));
  return withoutDuplicates(entries as unknown[], inEntries);
}

export function formatTokensFile(entries: readonly unknown[]): string {
  const lines = entries.map((entry) => `    ${JSON.stringify(entry)}`).join(',\n');
  return `{\n  "tokens": [${lines === '' ? '' : `\n${lines}\n  `}]\n}\n`;
}

/** The entry of a token in the file. */
export function entryOfToken({ name, sha256, role, expiresAt, scope }: NamedToken): object {
  return {
    name,
    sha256,
    role,
    ...scope?.fields,
    ...(expiresAt !== undefined && { expires_at: new Date(expiresAt).toISOString() }),
  };
}

/** Of two tokens with the same name or secret none is valid, because the file does not say which one is meant. */
function withoutDuplicates(
  entries: readonly unknown[],
  duplicateKeyOf: ReadonlyMap<number, string>,
): TokensFile {
  const read = entries.map((entry, index) => readEntry(entry, index, duplicateKeyOf.get(index)));
  const names = countOf(read.map(({ name }) => name));
  const secrets = countOf(read.flatMap((one) => ('sha256' in one ? [one.sha256] : [])));
  const tokens: NamedToken[] = [];
  const unusable: UnusableToken[] = [];
  for (const one of read) {
    const { name } = one;
    if ('reason' in one) unusable.push(one);
    else if ((names.get(name) ?? 0) > 1) unusable.push({ name, reason: 'another token has its name' });
    else if ((secrets.get(one.sha256) ?? 0) > 1)
      unusable.push({ name, reason: 'another token has its sha256' });
    else tokens.push(one);
  }
  return { tokens, unusable, entries };
}

function countOf(keys: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

function readEntry(
  entry: unknown,
  index: number,
  duplicateKey: string | undefined,
): NamedToken | UnusableToken {
  const unnamed = `number ${index + 1}`;
  if (!isObject(entry)) return { name: unnamed, reason: 'it is no object' };
  const { name, sha256, role, expires_at: expires } = entry;
  if (typeof name !== 'string' || !isTokenName(name))
    return { name: unnamed, reason: `its name must be ${TOKEN_NAME_RULE}` };
  // A reader of the file may see the other value.
  if (duplicateKey !== undefined)
    return { name, reason: `it has the key ${JSON.stringify(duplicateKey.slice(0, 40))} twice` };
  const unknown = Object.keys(entry).filter((field) => !FIELDS.has(field));
  if (unknown.length > 0)
    return {
      name,
      reason: `this version does not know its field ${JSON.stringify(unknown[0]?.slice(0, 40))}, which could limit what it may do`,
    };
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/i.test(sha256))
    return { name, reason: 'its sha256 must be 64 hexadecimal digits' };
  const known = ROLES.find((one) => one === role);
  if (known === undefined) return { name, reason: `its role must be one of ${ROLES.join(', ')}` };
  const expiresAt = expires === undefined ? undefined : timeOf(expires);
  if (Number.isNaN(expiresAt))
    return { name, reason: 'its expires_at must be a date and time such as 2027-01-31T12:00:00Z' };
  const limits = scopeFieldsOf(entry);
  const problem = limits && findScopeProblem(limits);
  if (problem) return { name, reason: `its ${problem.path.join('.')} ${problem.reason}` };
  return { name, sha256: sha256.toLowerCase(), role: known, expiresAt, scope: limits && new Scope(limits) };
}

/** What limits the token, unchecked; undefined if nothing does. */
function scopeFieldsOf(entry: Record<string, unknown>): ScopeFields | undefined {
  const given = SCOPE_KEYS.filter((key) => Object.hasOwn(entry, key)).map(
    (key) => [key, entry[key]] as const,
  );
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

/** NaN if it is no time with a time zone, of a day that exists. */
function timeOf(value: unknown): number {
  return isTime(value) ? Date.parse(value) : Number.NaN;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
