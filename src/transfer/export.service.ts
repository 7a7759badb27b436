import { Readable } from 'node:stream';
import { Injectable, StreamableFile } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { exportText } from './export-lines.js';
import { DomainRecordDto, ExportQueryDto } from './transfer.dto.js';

/** Everything out, as one text. */
@Injectable()
export class ExportService {
  constructor(private readonly persistence: PersistenceService) {}

  @Operation({
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
}
