import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { McpResource } from '../contract/resource.js';
import { asStorageError } from '../errors/storage-error.js';
import { Settings } from '../settings/settings.js';

/**
 * Hides the rest of a line, comments included, after these patterns: names of secrets (userlists, section 12.4; headers,
 * variables and query parameters of any rule), and keywords whose value is or can be a secret. Hides too much rather
 * than too little: the text is for reading, not for copying.
 */
const SECRET_NAMES = [
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
const AFTER_SECRET_NAME = new RegExp(
  String.raw`((?:${SECRET_NAMES.join('|')})[^\s:=,)]*[:=,)]*)(.*\S.*)$`,
  'gim',
);
/** The arguments of converters that take a key (section 7.3.1). */
const CONVERTER_KEY = /\b((?:hmac|jwt_verify\w*|aes_\w+)\()[^)]*/gi;
/** The user and password of a URL: https://user:password@host */
const USER_INFO = /(:\/\/)[^\s/@]+@/g;
const HIDDEN = '[hidden]';

/** The operator's haproxy.cfg, without its secrets. */
@Injectable()
export class ConfigTextService {
  constructor(private readonly settings: Settings) {}

  @McpResource({
    uri: 'haproxy://config',
    scope: 'all',
    name: 'config',
    title: 'haproxy.cfg',
    description:
      "The operator's HAProxy configuration as text, without its secrets. It does not contain the pools: " +
      'read haproxy://state for them.',
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

/** Replaces secrets, because read-only callers can read the configuration. */
export function withoutSecrets(text: string): string {
  return text
    .replace(AFTER_SECRET_NAME, `$1 ${HIDDEN}`)
    .replace(CONVERTER_KEY, `$1${HIDDEN}`)
    .replace(USER_INFO, `$1${HIDDEN}@`);
}
