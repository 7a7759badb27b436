import { Injectable, Logger } from '@nestjs/common';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { DryRunDto, type PlanStepDto, shownOf } from '../contract/dry-run/dry-run.dto.js';
import { messageOf } from '../errors/app-error.js';
import type { ServerSpec } from '../model/server.js';
import { Operation } from '../contract/operation.js';
import { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { describeRewrites, describeSteps, fileStep } from '../contract/dry-run/describe-plan.js';
import { asStorageError } from '../errors/storage-error.js';
import type { Draft } from '../model/draft.js';
import { describeDifference } from '../reconciler/drift.js';
import { DriftService } from '../sync/drift.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { CertificateLoader } from '../haproxy/certificates/certificate-loader.service.js';
import { HaproxyRestoreService } from '../sync/haproxy-restore.service.js';
import { Settings } from '../settings/settings.js';
import { RestoredStateDto, SavedStateDto, type TakenOverDto } from './state.dto.js';
import { captureRuntime, type RuntimeCapture } from './runtime-capture.js';

/** How many values, servers and differences one answer names. */
const SHOWN = 100;

/** Saves runtime values of HAProxy into the state (capture), and restores the state into HAProxy. */
@Injectable()
export class StateService {
  readonly #logger = new Logger('State');

  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly reconciler: ReconcilerService,
    private readonly restores: HaproxyRestoreService,
    private readonly certificates: CertificateLoader,
    private readonly drift: DriftService,
    private readonly settings: Settings,
    private readonly guard: ServerGuard,
  ) {}

  @Operation({
    name: 'haproxy_save_state',
    command: 'state save',
    title: 'Take over changes made in HAProxy',
    description:
      'Copies the weights, states and addresses of known servers, changed in HAProxy itself, into the saved state. ' +
      'It is not a backup: it saves no domains, and {haproxy_restore_state} undoes no change. {haproxy_undo} and ' +
      '{haproxy_rollback} take changes back; for a backup use GET /api/v1/export. With RECONCILE=heal the suite undoes such changes within 30 seconds.',
    output: SavedStateDto,
    idempotent: true,
  })
  async save({ dry_run }: DryRunDto): Promise<SavedStateDto> {
    const { before, actual } = await this.persistence.exclusively(async () => ({
      actual: await this.runtime.readRouting(),
      before: new Map(this.persistence.state.pools),
    }));
    const edit = (draft: Draft): RuntimeCapture =>
      captureRuntime(draft, before, actual, (saved, live) => this.#refusalOf(saved, live));
    if (dry_run) {
      const { value, plan } = await this.persistence.preview(edit);
      // Omits the steps in HAProxy, because HAProxy has these values already.
      const steps = [...value.captured.map(captureStep), ...plan.filter(({ target }) => target === 'file')];
      const dump = fileStep(this.settings.files.state, 'is rewritten');
      return {
        ...this.#saved(this.persistence.state.revision, value),
        dry_run,
        ...shownOf([...steps, dump]),
      };
    }
    const { value, revision } = await this.persistence.commit(edit);
    await this.#writeDump();
    if (value.captured.length > 0)
      this.#logger.log(`Saved ${value.captured.length} value(s) from HAProxy, revision ${revision}`);
    return this.#saved(revision, value);
  }

  @Operation({
    name: 'haproxy_restore_state',
    command: 'state restore',
    title: 'Put the saved state into HAProxy again',
    description:
      'Puts the present saved state into HAProxy and its files again, and lists the differences. It is not an undo: ' +
      'it brings back no earlier state and no removed domain: {haproxy_history} lists the changes and {haproxy_undo} ' +
      'takes one back (or use POST /api/v1/import with an export). Changes made in HAProxy itself are lost; {haproxy_save_state} keeps them.',
    output: RestoredStateDto,
    destructive: true,
    idempotent: true,
  })
  async restore({ dry_run }: DryRunDto): Promise<RestoredStateDto> {
    if (dry_run) return this.persistence.exclusively(() => this.#previewRestore());
    const restored = await this.persistence.exclusively(async () => {
      const differences = await this.#differences();
      const { domains, servers, duration_ms } = await this.restores.restore();
      const rewritten = await this.persistence.rewriteDerived();
      return {
        revision: this.persistence.state.revision,
        repaired: { domains, servers, files: rewritten.length },
        differences: differences.slice(0, SHOWN),
        difference_count: differences.length,
        duration_ms,
      };
    });
    // haproxy_health shows the last comparison.
    await this.drift.check();
    return restored;
  }

  async #previewRestore(): Promise<RestoredStateDto> {
    const started = performance.now();
    const differences = await this.#differences();
    const steps = await this.reconciler.previewRestore(this.persistence.state);
    const certificates = await this.certificates.unserved();
    const files = await this.persistence.filesToRewrite();
    return {
      revision: this.persistence.state.revision,
      repaired: { domains: 0, servers: 0, files: 0 },
      differences: differences.slice(0, SHOWN),
      difference_count: differences.length,
      duration_ms: Math.round(performance.now() - started),
      dry_run: true,
      ...shownOf([...describeSteps(steps), ...certificates.map(loadStep), ...describeRewrites(files)]),
    };
  }

  /** The current differences of HAProxy and the files from the state, as sentences. */
  async #differences(): Promise<string[]> {
    const files = await this.persistence.recheckFiles();
    const differences = await this.restores.differences();
    return [
      ...differences.map((difference) => describeDifference(difference)),
      ...files.map(({ path, missing }) => `file ${path} ${missing ? 'was missing' : 'was not as written'}`),
    ];
  }

  #saved(revision: number, { captured, refused }: RuntimeCapture): SavedStateDto {
    return {
      revision,
      taken_over: captured.slice(0, SHOWN),
      taken_over_count: captured.length,
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

  #refusalOf(saved: ServerSpec, live: ServerSpec): string | undefined {
    try {
      this.guard.checkReplacement(saved, live);
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }
}

function captureStep({ server, field, before, after }: TakenOverDto): PlanStepDto {
  const text = `${server}: ${field} ${before} becomes ${after}, the value in HAProxy`;
  return { target: 'file', action: 'adopt_value', name: server, text };
}

function loadStep(path: string): PlanStepDto {
  return { target: 'haproxy', action: 'load_certificate', name: path, text: `${path} is loaded` };
}
