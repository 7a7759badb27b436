import { Readable } from 'node:stream';
import { Injectable, Logger, StreamableFile } from '@nestjs/common';
import { AppError } from '../common/errors.js';
import { McpTool } from '../common/operation.js';
import { ServerNetworks } from '../common/server-networks.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';
import { Settings } from '../settings/settings.js';
import { exportText } from './export-lines.js';
import { type ImportLine, linesOf } from './import-lines.js';
import { ImportProblems } from './import-problems.js';
import { type DomainRecord, readRecord, WrongRecord } from './import-record.js';
import { applyImport } from './import-rules.js';
import { summaryOf } from './import-summary.js';
import { DomainRecordDto, ExportQueryDto, ImportRequest, ImportResultDto } from './transfer.dto.js';

/** Steps of a dry run that an answer shows. */
const STEPS_SHOWN = 100;

/** Everything in one call: in, as one change, and out, as one text. */
@Injectable()
export class TransferService {
  readonly #logger = new Logger('Transfer');
  readonly #networks: ServerNetworks;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly settings: Settings,
  ) {
    this.#networks = new ServerNetworks(settings.allowedServerNetworks);
  }

  @McpTool({
    name: 'haproxy_import',
    title: 'Import domains and servers',
    description:
      'Takes domains, shared pools and servers, a JSON object a line (application/x-ndjson) or as one JSON array, and ' +
      'makes them durable and live as one change of one revision: all or nothing, unless on_error=skip. An error names ' +
      'the lines. mode=replace with a file of GET /api/v1/export restores exactly what was exported; dry_run tells ' +
      'what would change.',
    output: ImportResultDto,
    destructive: true,
    idempotent: true,
    errors: ['domain_exists', 'domain_not_found', 'slot_taken', 'pool_full', 'pools_exhausted', 'forbidden'],
    // A tool call cannot carry 100,000 domains.
    mcp: false,
  })
  async import(input: ImportRequest): Promise<ImportResultDto> {
    const { mode, on_error } = input;
    if (mode === 'replace' && on_error === 'skip')
      throw invalid('on_error', 'skip would remove what a wrong line names; with mode=replace use abort');
    const problems = new ImportProblems(on_error === 'skip');
    const started = performance.now();
    const { records, lines } = await this.#read(input, problems);
    problems.check();
    if (mode === 'replace' && lines === 0)
      throw invalid('body', 'has no line, and mode=replace would remove everything');
    const limits = { pools: this.reconciler.poolLimit, maxSlots: this.settings.maxSlots };
    const { value, planned } = await this.persistence.change((draft) => {
      const found = problems.fork();
      applyImport(draft, records, mode, limits, found.add);
      found.check();
      return { ...summaryOf(draft, draft.base), skipped_count: found.count, skipped: found.skipped };
    }, input);
    const { plan, ...rest } = planned;
    this.#logger.log(
      `${planned.dry_run ? 'Tried an import' : 'Imported'} (${mode}): ${lines} lines, ${value.domains_added} domains ` +
        `added, ${value.domains_removed} removed, in ${Math.round(performance.now() - started)} ms`,
    );
    return {
      lines,
      ...value,
      ...rest,
      ...(plan && { plan: plan.slice(0, STEPS_SHOWN), plan_steps: plan.length }),
    };
  }

  @McpTool({
    name: 'haproxy_export',
    title: 'Export domains and servers',
    description:
      'All domains, shared pools and servers with address, weight and state, of one revision: a JSON object a line, or ' +
      'format=json. POST /api/v1/import takes it back.',
    output: DomainRecordDto,
    readOnly: true,
    idempotent: true,
    mcp: false,
  })
  async export({ format }: ExportQueryDto): Promise<StreamableFile> {
    const { state } = this.persistence;
    return new StreamableFile(Readable.from(exportText(state, format), { objectMode: false }), {
      type: format === 'json' ? 'application/json' : 'application/x-ndjson',
      disposition: `attachment; filename="domains-${state.revision}.${format}"`,
    });
  }

  async #read(
    { content }: ImportRequest,
    problems: ImportProblems,
  ): Promise<{ records: DomainRecord[]; lines: number }> {
    const records: DomainRecord[] = [];
    const seen = new Map<string, number>();
    let lines = 0;
    const take = (line: ImportLine): void => {
      lines += 1;
      const record = this.#recordOf(line, problems);
      if (!record) return;
      const other = seen.get(record.domain);
      if (other === undefined) {
        seen.set(record.domain, record.line);
        records.push(record);
      } else problems.add(record.line, 'validation_failed', `${record.domain} is on line ${other} already`);
    };
    if (content instanceof Readable) for await (const line of linesOf(content)) take(line);
    else for (const [index, value] of content.entries()) take({ line: index + 1, value });
    return { records, lines };
  }

  #recordOf(line: ImportLine, problems: ImportProblems): DomainRecord | undefined {
    try {
      if ('problem' in line) throw new WrongRecord(line.problem);
      const record = readRecord(line.line, line.value);
      for (const { ip } of record.servers) this.#networks.check(ip);
      return record;
    } catch (error) {
      if (error instanceof WrongRecord) problems.add(line.line, 'validation_failed', error.message);
      else if (error instanceof AppError) problems.add(line.line, error.code, error.detail);
      else throw error;
      return undefined;
    }
  }
}

function invalid(field: string, message: string): AppError {
  return new AppError('validation_failed', `${field}: ${message}.`, { errors: [{ field, message }] });
}
