import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { AppError } from '../../errors/app-error.js';
import { storageError } from '../../errors/storage-error.js';
import { writeFileAtomic } from '../../lib/atomic-file.js';
import { Settings } from '../../settings/settings.js';
import { parseConfig } from '../config/config-parser.js';
import { type HttpBind, httpBinds } from '../config/http-binds.js';
import { readTextIfPresent } from '../config/operator-config.js';
import { routingFrontends } from '../guard/listeners.js';
import { runtimeCommand } from '../runtime/command.js';
import { RuntimeClient } from '../runtime/runtime-client.js';

/** The map may not have the name, and a worker with older rules does not have the map. */
const ANY = /./;
const NO_SUCH_MAP = /Unknown map identifier/i;

/**
 * acme.map: the names for which HAProxy answers the challenge HTTP-01 (RFC 8555, section 8.3), each with the thumbprint of the
 * account that requests the certificate. The rules in suite.cfg look names up in it.
 */
@Injectable()
export class AcmeChallenges {
  readonly #client: RuntimeClient;
  readonly #queue = pLimit(1);
  readonly #thumbprints = new Map<string, string>();

  constructor(private readonly settings: Settings) {
    this.#client = new RuntimeClient(settings.runtime);
  }

  /** Empties the file that a killed suite left. Call it at start, before HAProxy starts. */
  async open(): Promise<void> {
    const { acmeMap } = this.settings.files;
    if ((await readTextIfPresent(acmeMap)) !== '') await writeFileAtomic(acmeMap, '');
  }

  /** A HAProxy that runs since before the suite was killed still has the names in memory. @throws AppError haproxy_unavailable */
  forgetOthers(): Promise<void> {
    return this.#queue(async () => {
      if (this.#thumbprints.size > 0) return;
      const command = runtimeCommand`clear map ${this.settings.files.acmeMap}`;
      await this.#client.run([{ command, acceptedRejection: ANY }]);
    });
  }

  /**
   * From now on HAProxy answers challenges for the name. The file comes first, so that a worker that starts meanwhile
   * answers too.
   *
   * @throws AppError storage_failed, haproxy_unavailable; acme_failed if HAProxy has not loaded the rules
   */
  answer(name: string, thumbprint: string): Promise<void> {
    return this.#queue(async () => {
      this.#thumbprints.set(name, thumbprint);
      await this.#write();
      const { acmeMap } = this.settings.files;
      const [, added] = await this.#client.run([
        { command: runtimeCommand`del map ${acmeMap} ${name}`, acceptedRejection: ANY },
        { command: runtimeCommand`add map ${acmeMap} ${name} ${thumbprint}`, acceptedRejection: NO_SUCH_MAP },
      ]);
      if (NO_SUCH_MAP.test(added?.text ?? ''))
        throw new AppError(
          'acme_failed',
          `HAProxy cannot answer the challenge for ${name}, because it has not loaded ${this.settings.files.suite} of ` +
            'this version of the suite. Call {haproxy_reload}, then try again. {haproxy_check_config} says what is missing.',
        );
    });
  }

  /** HAProxy answers no challenges for the name any more; they go to its servers. @throws AppError storage_failed, haproxy_unavailable */
  withdraw(name: string): Promise<void> {
    return this.#queue(async () => {
      if (!this.#thumbprints.delete(name)) return;
      const command = runtimeCommand`del map ${this.settings.files.acmeMap} ${name}`;
      // Also on a full disk.
      await Promise.all([this.#write(), this.#client.run([{ command, acceptedRejection: ANY }])]);
    });
  }

  /** The plain HTTP binds at which HAProxy answers challenges, also those that only take the PROXY protocol. */
  async binds(): Promise<HttpBind[]> {
    const { config, map } = this.settings.files;
    const sections = parseConfig(await readTextIfPresent(config), config);
    return httpBinds(routingFrontends(sections, map));
  }

  async #write(): Promise<void> {
    const lines = [...this.#thumbprints].map(([name, thumbprint]) => `${name} ${thumbprint}\n`);
    await writeFileAtomic(this.settings.files.acmeMap, lines.join('')).catch((error: unknown) => {
      throw storageError(error);
    });
  }
}
