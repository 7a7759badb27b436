import { Readable } from 'node:stream';
import { Injectable, StreamableFile } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import type { SiteOptions } from '../model/options/options.js';
import { orderedPools } from '../model/change/state-delta.js';
import type { Pool, State } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { DomainRecordDto, type ExportFormat, ExportQueryDto } from './transfer.dto.js';

/** Characters of one chunk of the stream: about the size of a socket buffer. */
const CHUNK_LENGTH = 64 * 1024;

/** Exports the whole state as one text. */
@Injectable()
export class ExportService {
  constructor(private readonly persistence: PersistenceService) {}

  @Operation({
    name: 'haproxy_export',
    scope: 'view',
    command: 'domains export',
    title: 'Export domains and servers',
    description:
      'Exports all domains, shared pools and servers of one revision, a JSON object per line, or with format=json ' +
      'as an array. To import it use POST /api/v1/import.',
    output: DomainRecordDto,
    readOnly: true,
    idempotent: true,
    mcp: false,
  })
  async export({ format }: ExportQueryDto): Promise<StreamableFile> {
    const state = this.persistence.visible;
    return new StreamableFile(Readable.from(exportText(state, format), { objectMode: false }), {
      type: format === 'json' ? 'application/json' : 'application/x-ndjson',
      disposition: `attachment; filename="domains-${state.revision}.${format}"`,
    });
  }
}

/**
 * The text of an export in chunks. All chunks are of the revision at the time of the call, even for a slow reader:
 * the list of pools is copied, and a pool is immutable.
 */
export function exportText(state: State, format: ExportFormat): Generator<string> {
  const records = recordsOf(orderedPools(state), new Map(state.sites));
  return inChunks(format === 'json' ? jsonArrayOf(records) : ndjsonOf(records));
}

function* ndjsonOf(records: Iterable<string>): Generator<string> {
  for (const record of records) yield `${record}\n`;
}

function* jsonArrayOf(records: Iterable<string>): Generator<string> {
  let separator = '[';
  for (const record of records) {
    yield `${separator}\n${record}`;
    separator = ',';
  }
  yield separator === '[' ? '[]\n' : '\n]\n';
}

/** The record of the first domain of a pool has the servers. The other domains share with the first. */
function* recordsOf(
  pools: Iterable<readonly [string, Pool]>,
  sites: ReadonlyMap<string, SiteOptions>,
): Generator<string> {
  for (const [name, { domains, servers, external, options }] of pools) {
    const [first, ...others] = domains;
    if (first === undefined) continue;
    const slots = [...servers].toSorted(([a], [b]) => a - b).map(([slot, server]) => ({ slot, ...server }));
    const pool = external ? { backend: name } : { pool: name, servers: slots, options };
    yield JSON.stringify({ domain: first, ...pool, site: sites.get(first) });
    for (const domain of others) yield JSON.stringify({ domain, share_with: first, site: sites.get(domain) });
  }
}

function* inChunks(texts: Iterable<string>): Generator<string> {
  let chunk = '';
  for (const text of texts) {
    chunk += text;
    if (chunk.length < CHUNK_LENGTH) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}
