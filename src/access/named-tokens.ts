import { randomBytes, timingSafeEqual } from 'node:crypto';
import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import pLimit from 'p-limit';
import type { Role } from '../contract/role.js';
import { TOKEN_PREFIX } from '../contract/token-secret.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { storageError } from '../errors/storage-error.js';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { Scope, type ScopeFields } from '../model/scope/scope.js';
import { Settings } from '../settings/settings.js';
import { EventFeed } from '../signals/event-feed.js';
import { digestOf } from './token-store.js';
import {
  entryOfToken,
  formatTokensFile,
  isTokenName,
  MAX_TOKENS,
  type NamedToken,
  readTokensFile,
  type TokensFile,
  TokensFileError,
  type UnusableToken,
  versionOfFile,
} from './tokens-file.js';

/** How often the suite looks for a changed file and for tokens that expire. */
const CHECK_INTERVAL_MS = 500;
/** 256 bits. */
const SECRET_BYTES = 32;
/** The version of a file that could not be read: the next check reads it again. */
const UNREAD = 'unread';
/** How many tokens that are not valid health names. */
const UNUSABLE_SHOWN = 5;

/** A token to add. `scope` is valid by `findScopeProblem`. */
interface NewToken {
  name: string;
  role: Role;
  expiresAt: number | undefined;
  scope?: ScopeFields | undefined;
}

/**
 * The tokens of `TOKENS_FILE`. The file is read again when it changes. A changed file that cannot be used leaves the tokens
 * of the last valid one in force. At the start, none of its tokens is valid then.
 */
@Injectable()
export class NamedTokens implements OnApplicationShutdown {
  readonly #logger = new Logger('access');
  readonly #queue = pLimit(1);
  #check: NodeJS.Timeout | undefined;
  #version = 'missing';
  /** By the SHA-256 of the secret. */
  #tokens: ReadonlyMap<string, NamedToken> = new Map();
  #unusable: readonly UnusableToken[] = [];
  /** Why the file cannot be used. */
  #problem: string | undefined;
  #hasReadFile = false;
  /** The expired tokens whose sessions have been ended. */
  readonly #expired = new Set<string>();

  constructor(
    private readonly settings: Settings,
    private readonly feed: EventFeed,
  ) {}

  /** Reads the file. Before this call, no token is valid. A file that cannot be used does not stop the start. */
  open(): void {
    this.#read();
    this.#check ??= setInterval(() => {
      this.refresh();
    }, CHECK_INTERVAL_MS).unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.#check);
  }

  /** The token with this digest; undefined if there is none, or if it has expired. */
  find(digest: Buffer): NamedToken | undefined {
    // The map compares digests of what callers send, so its time tells nothing about a secret.
    const token = this.#tokens.get(digest.toString('hex'));
    if (!token || !timingSafeEqual(Buffer.from(token.sha256, 'hex'), digest)) return undefined;
    return isExpired(token) ? undefined : token;
  }

  /** Sorted by name. */
  get tokens(): readonly NamedToken[] {
    return [...this.#tokens.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  get unusable(): readonly UnusableToken[] {
    return this.#unusable;
  }

  /** Why the file cannot be used, and what to do; undefined if it can. */
  get fileProblem(): string | undefined {
    return this.#problem;
  }

  /** What is wrong with the file and its tokens, as sentences that say what to do; empty if all is well. */
  get problems(): readonly string[] {
    const { tokens: path } = this.settings.files;
    if (this.#problem !== undefined) return [this.#problem];
    const shown = this.#unusable
      .slice(0, UNUSABLE_SHOWN)
      .map(
        ({ name, reason }) =>
          `The token ${name} in ${path} is not valid: ${reason}. ${isTokenName(name) ? 'Revoke or repair it' : 'Repair it, or remove it from the file'}.`,
      );
    const more = this.#unusable.length - UNUSABLE_SHOWN;
    return more > 0 ? [...shown, `${more} more tokens in ${path} are not valid.`] : shown;
  }

  /** Reads a changed file, and ends what belongs to tokens that have expired. */
  refresh(): void {
    try {
      if (versionOfFile(this.settings.files.tokens) !== this.#version) this.#read();
    } catch (error) {
      // The folder of the file cannot be searched. The tokens stay in force.
      this.#version = UNREAD;
      this.#refuse(messageOf(error));
    }
    for (const token of this.#tokens.values()) {
      if (token.expiresAt === undefined) continue;
      const owner = ownerOfToken(token);
      if (!isExpired(token)) this.#expired.delete(owner);
      else if (!this.#expired.has(owner)) {
        this.#expired.add(owner);
        this.#end(token, 'has expired');
      }
    }
  }

  /**
   * Adds a token and returns its secret, which is kept nowhere. `dryRun` only checks.
   *
   * @throws AppError token_exists, validation_failed, storage_failed
   */
  add(given: NewToken, dryRun: boolean): Promise<string> {
    return this.#queue(async () => {
      const { entries } = this.#readForChange();
      if (entries.some((entry) => nameOf(entry) === given.name))
        throw new AppError(
          'token_exists',
          `There is a token ${given.name}. Choose another name, or revoke it first with {haproxy_revoke_token}.`,
        );
      if (entries.length >= MAX_TOKENS)
        throw new AppError(
          'validation_failed',
          `There are ${entries.length} tokens, which is the limit. Revoke some with {haproxy_revoke_token}.`,
        );
      const secret = TOKEN_PREFIX + randomBytes(SECRET_BYTES).toString('base64url');
      const { scope, ...rest } = given;
      const token = { ...rest, sha256: digestOf(secret).toString('hex'), scope: scope && new Scope(scope) };
      if (!dryRun) await this.#write([...entries, entryOfToken(token)]);
      return secret;
    });
  }

  /** Revokes a token: ends its sessions, its streams and its waits. @throws AppError token_not_found, storage_failed */
  revoke(name: string, dryRun: boolean): Promise<void> {
    return this.#queue(async () => {
      const { entries } = this.#readForChange();
      const kept = entries.filter((entry) => nameOf(entry) !== name);
      if (kept.length === entries.length)
        throw new AppError(
          'token_not_found',
          `There is no token ${name} in ${this.settings.files.tokens}. {haproxy_list_tokens} lists the tokens.`,
        );
      if (!dryRun) await this.#write(kept);
    });
  }

  /** @throws AppError storage_failed */
  #readForChange(): TokensFile {
    const { tokens: path } = this.settings.files;
    try {
      return readTokensFile(path);
    } catch (error) {
      throw new AppError(
        'storage_failed',
        `${path} cannot be used, so the suite does not change it. ${messageOf(error)}`,
        { cause: error },
      );
    }
  }

  /** @throws AppError storage_failed */
  async #write(entries: readonly unknown[]): Promise<void> {
    try {
      await writeFileAtomic(this.settings.files.tokens, formatTokensFile(entries), 0o600);
    } catch (error) {
      throw storageError(error);
    }
    this.#read();
  }

  #read(): void {
    const { tokens: path } = this.settings.files;
    try {
      this.#version = versionOfFile(path);
      const isChange = this.#hasReadFile || this.#version !== 'missing';
      this.#use(readTokensFile(path));
      if (isChange) this.#logger.log(`${path} was read: ${this.#tokens.size} token(s).`);
      for (const problem of this.problems) this.#logger.warn(problem);
    } catch (error) {
      // Another read of the same file can succeed, unless its content, mode or owner is the reason.
      if (!(error instanceof TokensFileError) || error.kind === 'access') this.#version = UNREAD;
      this.#refuse(messageOf(error));
    }
    this.#hasReadFile = true;
  }

  #use({ tokens, unusable }: TokensFile): void {
    const before = this.#tokens;
    this.#tokens = new Map(tokens.map((token) => [token.sha256, token]));
    this.#unusable = unusable;
    this.#problem = undefined;
    for (const token of tokens) if (!isExpired(token)) this.#expired.delete(ownerOfToken(token));
    for (const token of before.values()) {
      const now = this.#tokens.get(token.sha256);
      // A session keeps the role and the limits that it began with, so a token with others is another caller.
      if (!now || ownerOfToken(now) !== ownerOfToken(token)) {
        this.#expired.delete(ownerOfToken(token));
        this.#end(token, 'was revoked or changed');
      }
    }
  }

  #refuse(reason: string): void {
    const left =
      this.#tokens.size > 0
        ? 'The tokens of its last valid version stay in force until the suite stops.'
        : 'None of its tokens is valid.';
    const problem = `${this.settings.files.tokens} cannot be used. ${left} ${reason}`;
    if (problem !== this.#problem) this.#logger.error(problem);
    this.#problem = problem;
  }

  #end(token: NamedToken, what: string): void {
    this.#logger.log(`The token ${token.name} ${what}. Its MCP sessions, streams and waiting calls end.`);
    this.feed.publish({ topic: 'token_ended', owner: ownerOfToken(token) });
  }
}

/** The caller that a token identifies, as `ownerOf` returns it. Another secret, role or limit is another caller. */
export function ownerOfToken({ name, role, sha256, scope }: NamedToken): string {
  const limits = scope ? ` ${digestOf(JSON.stringify(scope.fields)).toString('hex').slice(0, 16)}` : '';
  return `token ${name} ${role} ${sha256.slice(0, 16)}${limits}`;
}

export function isExpired({ expiresAt }: NamedToken): boolean {
  return expiresAt !== undefined && expiresAt <= Date.now();
}

function nameOf(entry: unknown): unknown {
  return (entry as { name?: unknown } | null)?.name;
}
