import { Injectable, Logger } from '@nestjs/common';
import { type LongPlannedDto, shownOf, type StateChangeDto } from '../contract/dry-run/dry-run.dto.js';
import { AppError } from '../errors/app-error.js';
import { invalidField } from '../errors/invalid-fields.js';
import { callContext } from '../contract/call-context.js';
import { requireBackendAllowed } from '../contract/input/names-in-scope.js';
import { outOfScope } from '../model/scope/scope.js';
import { Operation } from '../contract/operation.js';
import { ServerGuard } from '../haproxy/guard/server-guard.service.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { JobsService } from '../jobs/jobs.service.js';
import type { RunningJob } from '../jobs/running-job.js';
import { SteadyClock } from '../lib/steady-clock.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { Draft } from '../model/draft.js';
import type { CommitStage } from '../persistence/writer-queue.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { ImportProblems } from './import-problems.js';
import type { ImportContent } from './import-body.js';
import { readImport } from './import-reader.js';
import { parseRecord } from './import-record.js';
import { applyImport } from './import-rules.js';
import { describeSummary, summaryOf } from './import-summary.js';
import { applyPuts } from './put-import.js';
import { parsePutRecord } from './put-record.js';
import { type ImportMode, ImportRequest, ImportResultDto } from './transfer.dto.js';

/** The progress messages of a commit. */
const STAGES: Record<CommitStage, string> = {
  prepared: 'The new files are on disk. HAProxy is next.',
  applied: 'HAProxy has the import.',
  written: 'The files are in place. The import is complete.',
};

type ImportOutcome = Omit<ImportResultDto, keyof LongPlannedDto | keyof StateChangeDto>;

/** An import whose lines are read. `edit` puts them into a draft. */
interface PreparedImport {
  lines: number;
  edit: (draft: Draft) => ImportOutcome;
}

/** Why no domain can point at a backend; undefined for a backend that can be used. */
type BackendProblem = (backend: string) => string | undefined;

/** The lines of an import, each valid by itself. */
interface ReadLines {
  lines: number;
  /** The operator's backends that they name. */
  backends: readonly string[];
  apply: (draft: Draft, backendProblem: BackendProblem, problems: ImportProblems) => void;
}

/** Imports any number of domains and servers as one change. */
@Injectable()
export class ImportService {
  readonly #logger = new Logger('Transfer');

  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly jobs: JobsService,
    private readonly runtime: HaproxyRuntimeService,
    private readonly settings: Settings,
    private readonly guard: ServerGuard,
    private readonly clock: SteadyClock,
  ) {}

  @Operation({
    name: 'haproxy_import',
    scope: 'change',
    command: 'domains import',
    title: 'Import domains and servers',
    description:
      'Imports domains, shared pools and servers, as one JSON object per line (application/x-ndjson, optionally with ' +
      'Content-Encoding: gzip) or as a JSON array. It is one change of one revision: all or nothing, unless ' +
      'on_error=skip. An error names the lines. mode=replace with a file of GET /api/v1/export restores exactly ' +
      'that export; mode=put makes each domain as given and keeps the others. dry_run shows the changes first. wait=false answers 202 with an operation, which has the progress.',
    output: ImportResultDto,
    destructive: true,
    idempotent: true,
    runsAsJob: true,
    errors: [
      'domain_exists',
      'domain_not_found',
      'slot_taken',
      'pool_full',
      'pools_exhausted',
      'forbidden',
      'cancelled',
      'server_is_control',
      'server_is_haproxy',
    ],
    // A tool call cannot carry 100,000 domains.
    mcp: false,
  })
  async import(input: ImportRequest): Promise<ImportResultDto> {
    if (!input.dry_run) return (await this.start(input)).wait();
    const { edit } = await this.#readEdit(input);
    const { value, planned } = await this.persistence.change(edit, input);
    this.#log('Dry run of an import', input, value);
    return { ...value, ...planned, ...shownOf(planned.plan ?? []) };
  }

  /**
   * Starts the import as a job, after all lines are read and each is valid by itself.
   *
   * @throws AppError payload_too_large, malformed_request, validation_failed, forbidden, cancelled, shutting_down
   */
  async start(input: ImportRequest): Promise<RunningJob<ImportResultDto>> {
    const { edit, lines } = await this.#readEdit(input);
    if (callContext().signal().aborted)
      throw new AppError(
        'cancelled',
        'The caller left, or its token ended, before all lines had arrived. Nothing was changed.',
      );
    const { mode, on_error, dry_run } = input;
    return this.jobs.start({ kind: 'import', given: { mode, on_error, dry_run } }, async ({ progress }) => {
      progress(`${lines} lines read. Each is valid by itself.`);
      const { value, planned } = await this.persistence.change(
        (draft) => {
          const outcome = edit(draft);
          progress(`Checked against the saved state: ${describeSummary(outcome)}.`);
          return outcome;
        },
        { dry_run: false },
        (stage) => progress(STAGES[stage]),
      );
      this.#log(`Imported, revision ${planned.revision ?? 'unchanged'}`, input, value);
      return { ...value, ...planned };
    });
  }

  /** Reads and checks all lines. */
  async #readEdit({ mode, on_error, content }: ImportRequest): Promise<PreparedImport> {
    if (mode !== 'merge' && on_error === 'skip')
      throw invalidField(
        'on_error',
        `must be abort with mode=${mode}: a skipped line would be a half-done change`,
      );
    // It removes everything else, also what the caller may not see.
    if (mode === 'replace' && callContext().scope?.limitsDomains) throw outOfScope();
    const problems = new ImportProblems(on_error === 'skip');
    const { lines, backends, apply } = await this.#readLines(mode, content, problems);
    problems.check();
    if (mode === 'replace' && lines === 0)
      throw invalidField(
        'body',
        'has no line, so mode=replace would remove everything; send at least one line',
      );
    const backendProblem = await this.#backendProblems(backends);
    const edit = (draft: Draft): ImportOutcome => {
      const allProblems = problems.copy();
      apply(draft, backendProblem, allProblems);
      allProblems.check();
      return {
        lines,
        ...summaryOf(draft, draft.base),
        ...allProblems.report,
      };
    };
    return { lines, edit };
  }

  /** Reads all lines by the rules of the mode. */
  async #readLines(mode: ImportMode, content: ImportContent, problems: ImportProblems): Promise<ReadLines> {
    const limits = (backendProblem: BackendProblem) => ({
      pools: this.reconciler.poolLimit,
      slots: this.settings.maxSlots,
      now: this.clock.latest(),
      maxSlots: this.settings.maxSlots,
      backendProblem,
    });
    if (mode === 'put') {
      const { records, lines } = await readImport(content, parsePutRecord, this.guard, problems);
      return {
        lines,
        backends: records.flatMap(({ input }) => input.backend ?? []),
        apply: (draft, backendProblem, given) =>
          applyPuts(draft, records, limits(backendProblem), given.add, (line, message) =>
            given.leaveOut(line, message),
          ),
      };
    }
    const { records, lines } = await readImport(content, parseRecord, this.guard, problems);
    return {
      lines,
      backends: records.flatMap(({ backend }) => backend ?? []),
      apply: (draft, backendProblem, { add }) =>
        applyImport(draft, records, mode, limits(backendProblem), add),
    };
  }

  /** Asks HAProxy once for all backends of the operator that the records name. */
  async #backendProblems(backends: readonly string[]): Promise<BackendProblem> {
    const names = new Set(backends);
    for (const name of names) requireBackendAllowed(name);
    if (names.size === 0) return () => undefined;
    const problems = await this.runtime.findBackendProblems([...names]);
    return (backend) => problems.get(backend);
  }

  #log(what: string, { mode }: ImportRequest, outcome: ImportOutcome): void {
    this.#logger.log(`${what} (${mode}): ${outcome.lines} lines, ${describeSummary(outcome)}`);
  }
}
