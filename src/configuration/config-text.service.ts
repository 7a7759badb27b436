import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { McpResource } from '../contract/resource.js';
import { asStorageError } from '../errors/storage-error.js';
import { Settings } from '../settings/settings.js';

/**
 * After these the rest of a line is hidden, comments included: names that secrets have, wherever they stand (userlists,
 * section 12.4; headers, variables and query parameters of any rule), and keywords whose values are secrets or may be.
 * It hides too much rather than too little: what is left is for finding one's way, not for copying.
 */
const NAMES = [
  String.raw`pass(?:word|wd|phrase)`,
  'sign-pass',
  'secret',
  'token',
  String.raw`(?:api|access|auth|private)[-_]?key`,
  'authorization',
  'credential',
  String.raw`header\s+"?cookie`,
  'cookie:',
  String.raw`\bstats\s+auth(?=\s)`,
  String.raw`\b(?:pre)?setenv\s+\S+`,
  String.raw`\btcp-check\s+send\S*`,
];
const AFTER_NAME = new RegExp(String.raw`((?:${NAMES.join('|')})[^\s:=,)]*[:=,)]*)(.*\S.*)$`, 'gim');
/** Converters that are given a key (section 7.3.1). */
const KEYED = /\b((?:hmac|jwt_verify\w*|aes_\w+)\()[^)]*/gi;
/** https://user:password@host */
const USER_INFO = /(:\/\/)[^\s/@]+@/g;
const HIDDEN = '[hidden]';

/** The operator's haproxy.cfg, for reading. */
@Injectable()
export class ConfigTextService {
  constructor(private readonly settings: Settings) {}

  @McpResource({
    uri: 'haproxy://config',
    name: 'config',
    title: 'haproxy.cfg',
    description:
      "The operator's HAProxy configuration as text, with passwords left out. The pools are in a file of their own; " +
      'see haproxy://state for what is in them.',
    mimeType: 'text/plain',
    changesWith: [],
  })
  async read(): Promise<string> {
    const path = this.settings.files.config;
    try {
      return withoutSecrets(await readFile(path, 'utf8'));
    } catch (error) {
      throw asStorageError(error, path);
    }
  }
}

/** Read-only callers may see the configuration, but not what would let them in somewhere. */
export function withoutSecrets(text: string): string {
  return text
    .replace(AFTER_NAME, `$1 ${HIDDEN}`)
    .replace(KEYED, `$1${HIDDEN}`)
    .replace(USER_INFO, `$1${HIDDEN}@`);
}
