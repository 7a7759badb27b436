import { Injectable, Logger } from '@nestjs/common';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { DryRunDto, type PlanStepDto, shownOf } from '../contract/dry-run/dry-run.dto.js';
import { messageOf } from '../errors/app-error.js';
import { Operation } from '../contract/operation.js';
import { ServerNetworks } from '../model/server-networks.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { describeRewrites, describeSteps, fileStep } from '../contract/dry-run/describe-plan.js';
import { asStorageError } from '../errors/storage-error.js';
import type { Draft } from '../model/state.js';
import { describeDifference } from '../reconciler/drift.js';
import { DriftService } from '../sync/drift.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { CertificateLoader } from '../haproxy/certificates/certificate-loader.service.js';
import { HaproxyRestoreService } from '../sync/haproxy-restore.service.js';
import { Settings } from '../settings/settings.js';
import { RestoredStateDto, SavedStateDto, type TakenOverDto } from './state.dto.js';
import { captureRuntime, type RuntimeCapture } from './runtime-capture.js';

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
    private readonly restores: HaproxyRestoreService,
    private readonly certificates: CertificateLoader,
    private readonly drift: DriftService,
    private readonly settings: Settings,
  ) {
    this.#networks = new ServerNetworks(settings.allowedServerNetworks);
  }

  @Operation({
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
  async save({ dry_run }: DryRunDto): Promise<SavedStateDto> {
    const { seen, actual } = await this.persistence.exclusively(async () => ({
      actual: await this.runtime.readRouting(),
      seen: new Map(this.persistence.state.pools),
    }));
    const change = (draft: Draft): RuntimeCapture =>
      captureRuntime(draft, seen, actual, (ip) => this.#refusal(ip));
    if (dry_run) {
      const { value, plan } = await this.persistence.preview(change);
      // HAProxy has these values already; what is told to it is what it says itself.
      const steps = [...value.taken.map(adoption), ...plan.filter(({ target }) => target === 'file')];
      const dump = fileStep(this.settings.files.state, 'is written anew');
      return {
        ...this.#saved(this.persistence.state.revision, value),
        dry_run,
        ...shownOf([...steps, dump]),
      };
    }
    const { value, revision } = await this.persistence.commit(change);
    await this.#writeDump();
    if (value.taken.length > 0)
      this.#logger.log(`Taken over from HAProxy: ${value.taken.length} value(s), revision ${revision}`);
    return this.#saved(revision, value);
  }

  @Operation({
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
  async restore({ dry_run }: DryRunDto): Promise<RestoredStateDto> {
    if (dry_run) return this.persistence.exclusively(() => this.#previewRestore());
    const restored = await this.persistence.exclusively(async () => {
      const words = await this.#differences();
      const { domains, servers, duration_ms } = await this.restores.restore();
      const rewritten = await this.persistence.rewriteDerived();
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

  async #previewRestore(): Promise<RestoredStateDto> {
    const started = performance.now();
    const words = await this.#differences();
    const steps = await this.reconciler.previewRestore(this.persistence.state);
    const certificates = await this.certificates.unserved();
    const files = await this.persistence.filesToRewrite();
    return {
      revision: this.persistence.state.revision,
      repaired: { domains: 0, servers: 0, files: 0 },
      differences: words.slice(0, SHOWN),
      difference_count: words.length,
      duration_ms: Math.round(performance.now() - started),
      dry_run: true,
      ...shownOf([...describeSteps(steps), ...certificates.map(loading), ...describeRewrites(files)]),
    };
  }

  /** What differs now, in words. */
  async #differences(): Promise<string[]> {
    const files = await this.persistence.differingFiles();
    const differences = await this.restores.differences();
    return [
      ...differences.map((difference) => describeDifference(difference)),
      ...files.map(({ path, missing }) => `file ${path} ${missing ? 'was missing' : 'was not as written'}`),
    ];
  }

  #saved(revision: number, { taken, refused }: RuntimeCapture): SavedStateDto {
    return {
      revision,
      taken_over: taken.slice(0, SHOWN),
      taken_over_count: taken.length,
      not_taken_over: refused.slice(0, SHOWN),
      not_taken_over_count: refused.length,
      file: this.settings.files.state,
    };
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

function adoption({ server, field, before, after }: TakenOverDto): PlanStepDto {
  const text = `${server}: ${field} ${before} becomes ${after}, as HAProxy has it`;
  return { target: 'file', action: 'adopt_value', name: server, text };
}

function loading(path: string): PlanStepDto {
  return { target: 'haproxy', action: 'load_certificate', name: path, text: `${path} is loaded` };
}
