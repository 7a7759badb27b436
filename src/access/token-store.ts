import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { Injectable, Logger } from '@nestjs/common';
import { parse } from 'dotenv';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { messageOf } from '../errors/app-error.js';
import { Settings } from '../settings/settings.js';

export type TokenName = 'admin' | 'readonly';

const SHORTEST = 16;
const RECHECK_MS = 1000;

interface Tokens {
  digests: readonly { name: TokenName; digest: Buffer }[];
  /** Changes whenever the file does. */
  version: string;
}

/** The tokens of `MCP_TOKEN_FILE`, re-read when the file changes. Only digests are kept. */
@Injectable()
export class TokenStore {
  private readonly logger = new Logger('access');
  private tokens: Tokens | undefined;
  private checkedAt = 0;

  constructor(private readonly settings: Settings) {}

  /**
   * Reads the token file, and makes it (mode 0600) where it is missing. Until then no token is valid.
   * @throws Error with one readable line where the file cannot be used.
   */
  async open(): Promise<void> {
    const path = this.settings.files.token;
    if (this.version() === 'missing') {
      const token = randomBytes(32).toString('base64url');
      await writeFileAtomic(path, `MCP_TOKEN=${token}\n`, 0o600);
      this.logger.log(`A new token is in ${path}.`);
    }
    this.tokens = this.read();
    this.checkedAt = Date.now();
    if ((statSync(path).mode & 0o077) !== 0)
      this.logger.warn(`${path} can be read by other users of this machine; chmod 600 it.`);
  }

  /** Which token this is, in a time that does not depend on how much of it is right. */
  find(candidate: string): TokenName | undefined {
    this.refresh();
    const digest = sha256(candidate);
    let found: TokenName | undefined;
    for (const known of this.tokens?.digests ?? [])
      if (timingSafeEqual(known.digest, digest)) found ??= known.name;
    return found;
  }

  /** A file that has become unusable does not lock everybody out: the tokens read last stay valid. */
  private refresh(): void {
    const now = Date.now();
    if (!this.tokens || now - this.checkedAt < RECHECK_MS) return;
    this.checkedAt = now;
    const version = this.version();
    if (version === this.tokens.version) return;
    try {
      this.tokens = this.read();
      this.logger.log(`${this.settings.files.token} has changed; its tokens are in force.`);
    } catch (error) {
      this.tokens = { ...this.tokens, version };
      this.logger.error(`The tokens read before stay in force. ${messageOf(error)}`);
    }
  }

  private read(): Tokens {
    const path = this.settings.files.token;
    const version = this.version();
    const values = parse(readFileSync(path));
    const admin = values['MCP_TOKEN'] ?? '';
    const readonly = values['MCP_READONLY_TOKEN'] ?? '';
    if (admin === '') throw new Error(`${path} has no MCP_TOKEN: add a line MCP_TOKEN=…`);
    for (const [name, token] of Object.entries({ MCP_TOKEN: admin, MCP_READONLY_TOKEN: readonly }))
      if (token !== '' && !(token.length >= SHORTEST && /^[\u0021-\u007E]+$/.test(token)))
        throw new Error(
          `${name} in ${path} must be at least ${SHORTEST} visible ASCII characters without blanks.`,
        );
    if (admin === readonly) throw new Error(`MCP_TOKEN and MCP_READONLY_TOKEN in ${path} must differ.`);
    const digests = [{ name: 'admin' as const, digest: sha256(admin) }];
    return {
      version,
      digests: readonly === '' ? digests : [...digests, { name: 'readonly', digest: sha256(readonly) }],
    };
  }

  private version(): string {
    const stats = statSync(this.settings.files.token, { throwIfNoEntry: false });
    return stats ? `${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}` : 'missing';
  }
}

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
