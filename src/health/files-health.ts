import { access, constants, readFile } from 'node:fs/promises';
import { messageOf } from '../errors/app-error.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import { parseState } from '../storage/formats/servers-json.js';
import type { Settings } from '../settings/settings.js';
import type { FileHealthDto, FilesComponentDto } from './health.dto.js';

const CONSEQUENCE: Record<FileHealthDto['status'], string> = {
  ok: '',
  missing: 'is missing',
  differs: 'is not as the suite wrote it',
  unreadable: 'cannot be read',
};

/** While changes go on, the files are compared at most this often; a large map is read whole for it. */
const COMPARED_MS = 2_000;

/** What the files were found to be. */
interface Comparison {
  at: number;
  revision: number;
  own: FileHealthDto[];
  problems: string[];
}

/** Whether the files are there and hold what they should, so that HAProxy and the suite could start from them now. */
export class FilesHealth {
  #last: Comparison | undefined;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly settings: Settings,
  ) {}

  async check(): Promise<FilesComponentDto> {
    try {
      const { own, problems } = await this.#compared();
      const { config } = this.settings.files;
      const files = [...own, { file: config, status: await presence(config) }];
      const words = files
        .filter(({ status }) => status !== 'ok')
        .map(({ file, status }) => `${file} ${CONSEQUENCE[status]}`);
      words.push(...problems);
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

  /** What nobody touched and what should be as before is not read again (`StateFiles.check`). */
  async #compared(): Promise<Comparison> {
    const { revision } = this.persistence.state;
    const { servers, map, pools, journal } = this.settings.files;
    const last = this.#last;
    if (last && last.revision !== revision && Date.now() - last.at < COMPARED_MS) return last;
    const compared = await this.persistence.exclusively(async () => ({
      revision: this.persistence.state.revision,
      different: await this.persistence.differingFiles(),
    }));
    const statusOf = (file: string): FileHealthDto['status'] => {
      const found = compared.different.find(({ path }) => path === file);
      return found ? (found.missing ? 'missing' : 'differs') : 'ok';
    };
    const own = [servers, map, pools].map((file) => ({ file, status: statusOf(file) }));
    // Only a large state has one, and only until `servers.json` has everything.
    if (statusOf(journal) !== 'ok' || (await presence(journal)) !== 'missing')
      own.push({ file: journal, status: statusOf(journal) });
    const problems = own[0]?.status === 'differs' ? await this.#problemOf(servers) : [];
    this.#last = { at: Date.now(), revision: compared.revision, own, problems };
    return this.#last;
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
