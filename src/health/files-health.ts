import { access, constants, readFile } from 'node:fs/promises';
import { messageOf } from '../common/errors.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import { parseState } from '../persistence/state-json.js';
import type { Settings } from '../settings/settings.js';
import type { FileHealthDto, FilesComponentDto } from './health.dto.js';

const CONSEQUENCE: Record<FileHealthDto['status'], string> = {
  ok: '',
  missing: 'is missing',
  differs: 'is not as the suite wrote it',
  unreadable: 'cannot be read',
};

/** Whether the files are there and hold what they should, so that HAProxy and the suite could start from them now. */
export class FilesHealth {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly settings: Settings,
  ) {}

  async check(): Promise<FilesComponentDto> {
    const { servers, map, pools, config } = this.settings.files;
    try {
      const different = await this.persistence.exclusively(() => this.persistence.differingFiles());
      const own = [servers, map, pools].map((file): FileHealthDto => {
        const found = different.find(({ path }) => path === file);
        return { file, status: found ? (found.missing ? 'missing' : 'differs') : 'ok' };
      });
      const files = [...own, { file: config, status: await presence(config) }];
      const words = files
        .filter(({ status }) => status !== 'ok')
        .map(({ file, status }) => `${file} ${CONSEQUENCE[status]}`);
      if (own[0]?.status === 'differs') words.push(...(await this.#problemOf(servers)));
      if (words.length === 0)
        return { status: 'healthy', detail: 'All are there and as they should be.', files };
      return {
        status: 'degraded',
        detail: `${words.join('; ')}. Derived files are put right with the next comparison (RECONCILE=heal) or by haproxy_restore_state.`,
        files,
      };
    } catch (error) {
      return { status: 'degraded', detail: `The files could not be checked: ${messageOf(error)}`, files: [] };
    }
  }

  /** An edited `servers.json` is what the next start reads, so its errors are told before that. */
  async #problemOf(servers: string): Promise<string[]> {
    try {
      parseState(await readFile(servers, 'utf8'), servers);
      return [];
    } catch (error) {
      return [`a start would stop at it: ${messageOf(error)}`];
    }
  }
}

async function presence(path: string): Promise<FileHealthDto['status']> {
  try {
    await access(path, constants.R_OK);
    return 'ok';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'missing' : 'unreadable';
  }
}
