import { Injectable, Logger } from '@nestjs/common';
import { writeFileAtomic } from '../common/atomic-file.js';
import { messageOf } from '../common/errors.js';
import { McpTool } from '../common/operation.js';
import { ServerNetworks } from '../common/server-networks.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { asStorageError } from '../persistence/storage-error.js';
import { describeDifference } from '../reconciler/drift.js';
import { DriftService } from '../reconciler/drift.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { RestoredStateDto, SavedStateDto } from './state.dto.js';
import { takeOver } from './take-over.js';

const SHOWN = 100;

/** Between HAProxy and the saved state, in both directions, for somebody who asks for it. */
@Injectable()
export class StateService {
  readonly #logger = new Logger('State');
  readonly #networks: ServerNetworks;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly reconciler: ReconcilerService,
    private readonly drift: DriftService,
    private readonly settings: Settings,
  ) {
    this.#networks = new ServerNetworks(settings.allowedServerNetworks);
  }

  @McpTool({
    name: 'haproxy_save_state',
    title: 'Take over what HAProxy has',
    description:
      'Makes the weights, states and addresses that somebody changed in HAProxy itself, for servers that are known, ' +
      'the saved state, and writes the "show servers state" dump. Domains and unknown servers are not taken over. ' +
      'With RECONCILE=heal such changes are undone within half a minute, so save before that. The other way round is ' +
      'haproxy_restore_state.',
    output: SavedStateDto,
    idempotent: true,
  })
  async save(): Promise<SavedStateDto> {
    const { seen, actual } = await this.persistence.exclusively(async () => ({
      actual: await this.runtime.readRouting(),
      seen: new Map(this.persistence.state.pools),
    }));
    const { value, revision } = await this.persistence.commit((draft) =>
      takeOver(draft, seen, actual, (ip) => this.#refusal(ip)),
    );
    await this.#writeDump();
    if (value.taken.length > 0)
      this.#logger.log(`Taken over from HAProxy: ${value.taken.length} value(s), revision ${revision}`);
    return {
      revision,
      taken_over: value.taken.slice(0, SHOWN),
      taken_over_count: value.taken.length,
      not_taken_over: value.refused.slice(0, SHOWN),
      file: this.settings.files.state,
    };
  }

  @McpTool({
    name: 'haproxy_restore_state',
    title: 'Put the saved state into HAProxy',
    description:
      'Compares HAProxy and its files with the saved state and puts right what differs, at once and also with ' +
      'RECONCILE=report; the answer says what it was. What somebody changed in HAProxy itself is lost: to keep ' +
      'weights, states and addresses use haproxy_save_state first.',
    output: RestoredStateDto,
    destructive: true,
    idempotent: true,
  })
  async restore(): Promise<RestoredStateDto> {
    const restored = await this.persistence.exclusively(async () => {
      await this.reconciler.prepare();
      const files = await this.persistence.differingFiles();
      const differences = await this.reconciler.differences();
      const { domains, servers, duration_ms } = await this.reconciler.restore();
      const rewritten = await this.persistence.rewriteDerived();
      const words = [
        ...differences.map((difference) => describeDifference(difference)),
        ...files.map(({ path, missing }) => `file ${path} ${missing ? 'was missing' : 'was not as written'}`),
      ];
      return {
        revision: this.persistence.state.revision,
        repaired: { domains, servers, files: rewritten.length },
        differences: words.slice(0, SHOWN),
        difference_count: words.length,
        duration_ms,
      };
    });
    // What health says of drift is to be of now, not of before.
    await this.drift.check();
    return restored;
  }

  async #writeDump(): Promise<void> {
    const { files, home } = this.settings;
    const dump = await this.runtime.serversState();
    await writeFileAtomic(files.state, dump).catch((error: unknown) => {
      throw asStorageError(error, home);
    });
  }

  #refusal(ip: string): string | undefined {
    try {
      this.#networks.check(ip);
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }
}
