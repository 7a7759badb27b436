import { readFile } from 'node:fs/promises';
import { Injectable } from '@nestjs/common';
import { McpResource } from '../common/resource.js';
import { asStorageError } from '../persistence/storage-error.js';
import { Settings } from '../settings/settings.js';

/**
 * The words after which a secret stands: `user NAME password …`, `insecure-password …` (userlists, section 12.4),
 * `stats auth USER:PASSWORD`, and what is sent to servers in a header of health checks.
 */
const SECRETS = /((?:^|\s)(?:insecure-password|password|stats auth|auth-user-pass|authorization)\s+)(.+)$/gim;

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
  return text.replace(SECRETS, '$1[hidden]');
}
