import { Injectable, Logger } from '@nestjs/common';
import { shownOf } from '../contract/dry-run/dry-run.dto.js';
import { AppError } from '../errors/app-error.js';
import { Operation } from '../contract/operation.js';
import { ServerNetworks } from '../model/server-networks.js';
import { JobsService, type RunningJob } from '../jobs/jobs.service.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import type { Draft } from '../model/state.js';
import type { CommitStage } from '../persistence/writer-queue.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { ImportProblems } from './import-problems.js';
import { type ReadImport, readImport } from './import-reader.js';
import { applyImport } from './import-rules.js';
import { type ImportSummary, summaryOf } from './import-summary.js';
import { ImportRequest, ImportResultDto } from './transfer.dto.js';

const STAGES: Record<CommitStage, string> = {
  prepared: 'The new files are on disk; HAProxy is next.',
  applied: 'HAProxy has it.',
  written: 'The files are in place: it is done and will last.',
};

type Outcome = Omit<ImportResultDto, 'dry_run' | 'plan' | 'plan_steps'>;
type Change = (draft: Draft) => Outcome;

/** Everything in, in one call, as one change. */
@Injectable()
export class ImportService {
  readonly #logger = new Logger('Transfer');
  readonly #networks: ServerNetworks;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly operations: JobsService,
    private readonly settings: Settings,
  ) {
    this.#networks = new ServerNetworks(settings.allowedServerNetworks);
  }

  @Operation({
    name: 'haproxy_import',
    title: 'Import domains and servers',
    description:
      'Takes domains, shared pools and servers, a JSON object a line (application/x-ndjson, also with Content-Encoding: ' +
      'gzip) or as one JSON array, and makes them durable and live as one change of one revision: all or nothing, ' +
      'unless on_error=skip. An error names the lines. mode=replace with a file of GET /api/v1/export restores exactly ' +
      'what was exported; dry_run tells what would change. wait=false answers 202 with an operation, which tells how ' +
      'far it is.',
    output: ImportResultDto,
    destructive: true,
    idempotent: true,
    runsAsJob: true,
    errors: ['domain_exists', 'domain_not_found', 'slot_taken', 'pool_full', 'pools_exhausted', 'forbidden'],
    // A tool call cannot carry 100,000 domains.
    mcp: false,
  })
  async import(input: ImportRequest): Promise<ImportResultDto> {
    if (!input.dry_run) return (await this.begin(input)).wait();
    const { change } = await this.#read(input);
    const { value, plan } = await this.persistence.preview(change);
    this.#log('Tried an import', input, value);
    return { ...value, dry_run: true, ...shownOf(plan) };
  }

  /**
   * The import as an operation, begun once all lines are read and each is right by itself.
   *
   * @throws AppError payload_too_large, malformed_request, or what is wrong with the lines
   */
  async begin(input: ImportRequest): Promise<RunningJob<ImportResultDto>> {
    const { change, lines } = await this.#read(input);
    const { mode, on_error, dry_run } = input;
    return this.operations.start(
      { kind: 'import', given: { mode, on_error, dry_run } },
      async ({ progress }) => {
        progress(`${lines} lines read and checked, each by itself.`);
        const { value, revision } = await this.persistence.commit(
          (draft) => {
            const outcome = change(draft);
            progress(`Checked against what there is: ${wordsOf(outcome)}.`);
            return outcome;
          },
          (stage) => progress(STAGES[stage]),
        );
        this.#log(`Imported, revision ${revision}`, input, value);
        return value;
      },
    );
  }

  /** All lines, and what to do with them once it is known what there is. */
  async #read({
    mode,
    on_error,
    content,
  }: ImportRequest): Promise<Pick<ReadImport, 'lines'> & { change: Change }> {
    if (mode === 'replace' && on_error === 'skip')
      throw invalid('on_error', 'skip would remove what a wrong line names; with mode=replace use abort');
    const problems = new ImportProblems(on_error === 'skip');
    const { records, lines } = await readImport(content, this.#networks, problems);
    problems.check();
    if (mode === 'replace' && lines === 0)
      throw invalid('body', 'has no line, and mode=replace would remove everything');
    const change: Change = (draft) => {
      const limits = { pools: this.reconciler.poolLimit, maxSlots: this.settings.maxSlots };
      const found = problems.fork();
      applyImport(draft, records, mode, limits, found.add);
      found.check();
      return {
        lines,
        ...summaryOf(draft, draft.base),
        skipped_count: found.count,
        skipped: found.skipped,
      };
    };
    return { change, lines };
  }

  #log(what: string, { mode }: ImportRequest, outcome: Outcome): void {
    this.#logger.log(`${what} (${mode}): ${outcome.lines} lines, ${wordsOf(outcome)}`);
  }
}

function wordsOf(summary: ImportSummary): string {
  const { domains_added, domains_moved, domains_removed } = summary;
  const { servers_added, servers_changed, servers_removed } = summary;
  return (
    `domains: ${domains_added} added, ${domains_moved} moved, ${domains_removed} removed; ` +
    `servers: ${servers_added} added, ${servers_changed} changed, ${servers_removed} removed`
  );
}

function invalid(field: string, message: string): AppError {
  return new AppError('validation_failed', `${field}: ${message}.`, { errors: [{ field, message }] });
}
