import { access, constants, readFile } from 'node:fs/promises';
import { messageOf } from '../errors/app-error.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import { parseState } from '../storage/formats/servers-json.js';
import type { Settings } from '../settings/settings.js';
import type { ConfigHealth } from './config-health.js';
import type { FileHealthDto, FilesComponentDto } from './health.dto.js';

const PROBLEMS: Record<FileHealthDto['status'], string> = {
  ok: '',
  missing: 'is missing',
  differs: 'is not as the suite wrote it',
  unreadable: 'cannot be read',
};

/** The shortest time between two comparisons while the state changes. A comparison reads the whole map. */
const COMPARISON_INTERVAL_MS = 2_000;

/** The result of one comparison of the files with the state. */
interface Comparison {
  /** Milliseconds since the epoch. */
  at: number;
  revision: number;
  /** The files that the suite writes. */
  files: FileHealthDto[];
  problems: string[];
}

const REPAIR =
  'The next comparison (RECONCILE=heal) or {haproxy_restore_state} repairs domains.map and pools.cfg.';

/** Checks that the files exist and have the right content, so that HAProxy and the suite can start from them. */
export class FilesHealth {
  #last: Comparison | undefined;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly settings: Settings,
    private readonly configuration: Pick<ConfigHealth, 'findings'>,
  ) {}

  async check(): Promise<FilesComponentDto> {
    try {
      const [{ files: written, problems }, configuration] = await Promise.all([
        this.#comparison(),
        this.configuration.findings(),
      ]);
      const { config } = this.settings.files;
      const files = [...written, { file: config, status: await presence(config) }];
      const details = files
        .filter(({ status }) => status !== 'ok')
        .map(({ file, status }) => `${file} ${PROBLEMS[status]}`);
      details.push(...problems);
      const sentences = details.length === 0 ? [] : [`${details.join('; ')}. ${REPAIR}`];
      sentences.push(...configuration.problems);
      const isHealthy = sentences.length === 0;
      if (isHealthy)
        sentences.push(
          `All files exist and have the right content${configuration.isUnknown ? '.' : ', and HAProxy can start with them.'}`,
        );
      sentences.push(...configuration.notes);
      return { status: isHealthy ? 'healthy' : 'degraded', detail: sentences.join(' '), files };
    } catch (error) {
      return {
        status: 'degraded',
        detail: `The suite cannot check the files: ${messageOf(error)}`,
        files: [],
      };
    }
  }

  /** Reads only files that changed, or whose expected content changed, since the last comparison. */
  async #comparison(): Promise<Comparison> {
    const { revision } = this.persistence.state;
    const { servers, map, pools, journal } = this.settings.files;
    const last = this.#last;
    if (last && last.revision !== revision && Date.now() - last.at < COMPARISON_INTERVAL_MS) return last;
    const { different, ...compared } = await this.persistence.exclusively(async () => ({
      revision: this.persistence.state.revision,
      different: await this.persistence.differingFiles(),
    }));
    const statusOf = (file: string): FileHealthDto['status'] => {
      const found = different.find(({ path }) => path === file);
      return found ? (found.missing ? 'missing' : 'differs') : 'ok';
    };
    const files = [servers, map, pools].map((file) => ({ file, status: statusOf(file) }));
    // Only a large state has a journal, and only until all commits are in `servers.json`.
    if (statusOf(journal) !== 'ok' || (await presence(journal)) !== 'missing')
      files.push({ file: journal, status: statusOf(journal) });
    const problems = files[0]?.status === 'differs' ? await this.#problemsOf(servers) : [];
    this.#last = { at: Date.now(), revision: compared.revision, files, problems };
    return this.#last;
  }

  /** The next start reads an edited `servers.json`, so health reports its errors before that start. */
  async #problemsOf(servers: string): Promise<string[]> {
    try {
      parseState(await readFile(servers, 'utf8'), servers);
      return [];
    } catch (error) {
      return [`the suite cannot start from it: ${messageOf(error)}`];
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
