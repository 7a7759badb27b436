import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { parse } from 'dotenv';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { messageOf } from '../errors/app-error.js';
import { Settings } from '../settings/settings.js';
import { EventFeed } from '../signals/event-feed.js';

type TokenName = 'admin' | 'readonly';

/** The least number of characters in a token. */
const MIN_LENGTH = 16;
/** The shortest time between two checks of the file for changes. */
const RECHECK_MS = 1000;

interface KnownToken {
  name: TokenName;
  digest: Buffer;
  /** The caller that the token identifies, as `ownerOf` returns it. A new token is another caller. */
  owner: string;
}

interface Tokens {
  digests: readonly KnownToken[];
  /** Identifies the content of the file. */
  version: string;
}

/** The tokens of `MCP_TOKEN_FILE`, read again when the file changes. Memory holds only their digests. */
@Injectable()
export class TokenStore implements OnApplicationShutdown {
  readonly #logger = new Logger('access');
  #tokens: Tokens | undefined;
  #check: NodeJS.Timeout | undefined;
  #checkedAt = 0;
  /** Why the changed file cannot be used, as it was logged. */
  #problem: string | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly feed: EventFeed,
  ) {}

  /**
   * Reads the token file, or creates it (mode 0600) with a new token. Before this call, no token is valid.
   *
   * @throws Error with a one-line message, if the file cannot be used
   */
  async open(): Promise<void> {
    const path = this.settings.files.token;
    if (this.#version() === 'missing') {
      const token = randomBytes(32).toString('base64url');
      await writeFileAtomic(path, `MCP_TOKEN=${token}\n`, 0o600);
      this.#logger.log(`Created a new token in ${path}.`);
    }
    this.#tokens = this.#read();
    this.#checkedAt = Date.now();
    // Without a request too: the sessions and streams of a token end when it is replaced.
    this.#check ??= setInterval(() => {
      this.#refresh();
    }, RECHECK_MS / 2).unref();
    if ((statSync(path).mode & 0o077) !== 0)
      this.#logger.warn(`Other users of this machine can read ${path}. Run chmod 600 on it.`);
  }

  onApplicationShutdown(): void {
    clearInterval(this.#check);
  }

  /** The token with this digest; undefined if there is none. Compares in constant time. */
  find(digest: Buffer): Pick<KnownToken, 'name' | 'owner'> | undefined {
    this.#refresh();
    let found: KnownToken | undefined;
    for (const known of this.#tokens?.digests ?? [])
      if (timingSafeEqual(known.digest, digest)) found ??= known;
    return found;
  }

  /** If the changed file cannot be used, the old tokens stay valid, so that callers are not locked out. */
  #refresh(): void {
    const now = Date.now();
    if (!this.#tokens || now - this.#checkedAt < RECHECK_MS) return;
    this.#checkedAt = now;
    try {
      if (this.#version() === this.#tokens.version) return;
      const before = this.#tokens.digests;
      this.#tokens = this.#read();
      this.#problem = undefined;
      this.#logger.log(`${this.settings.files.token} has changed. Its tokens are valid now.`);
      const owners = new Set(this.#tokens.digests.map(({ owner }) => owner));
      for (const { owner } of before)
        if (!owners.has(owner)) this.feed.publish({ topic: 'token_ended', owner });
    } catch (error) {
      // The next check reads the file again: it may only be unreadable for a moment.
      this.#tokens = { ...this.#tokens, version: 'unread' };
      const problem = `The changed token file cannot be used; the old tokens stay valid. ${messageOf(error)}`;
      if (problem !== this.#problem) this.#logger.error(problem);
      this.#problem = problem;
    }
  }

  #read(): Tokens {
    const path = this.settings.files.token;
    const version = this.#version();
    const { admin, readonly } = parseTokens(readFileSync(path, 'utf8'), path);
    const digests = [known('admin', admin)];
    return { version, digests: readonly === '' ? digests : [...digests, known('readonly', readonly)] };
  }

  #version(): string {
    const stats = statSync(this.settings.files.token, { throwIfNoEntry: false });
    return stats ? `${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}` : 'missing';
  }
}

function known(name: TokenName, token: string): KnownToken {
  const digest = digestOf(token);
  return { name, digest, owner: `${name} ${digest.toString('hex').slice(0, 16)}` };
}

/** The tokens of a token file; `readonly` is empty if there is none. Pure. @throws Error with a one-line message and no token */
export function parseTokens(text: string, path: string): { admin: string; readonly: string } {
  const values = parse(text);
  const admin = values['MCP_TOKEN'] ?? '';
  const readonly = values['MCP_READONLY_TOKEN'] ?? '';
  if (admin === '') throw new Error(`${path} has no MCP_TOKEN. Add a line MCP_TOKEN=…`);
  for (const [name, token] of Object.entries({ MCP_TOKEN: admin, MCP_READONLY_TOKEN: readonly }))
    if (token !== '' && !(token.length >= MIN_LENGTH && /^[\u0021-\u007E]+$/.test(token)))
      throw new Error(
        `${name} in ${path} must be at least ${MIN_LENGTH} visible ASCII characters without spaces.`,
      );
  if (admin === readonly) throw new Error(`MCP_TOKEN and MCP_READONLY_TOKEN in ${path} must differ.`);
  return { admin, readonly };
}

/** Memory and files hold only digests of tokens. */
export function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
