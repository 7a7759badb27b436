import { Controller, Get, Post, Query, Req, Res, type StreamableFile } from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { recordsContent } from '../contract/openapi/media-content.js';
import { Serves } from '../contract/rest-operation.js';
import { answerJob, prefersAsync, ServesJob } from '../jobs/rest-job.js';
import type { AcceptedDto } from '../jobs/jobs.dto.js';
import { ExportService } from './export.service.js';
import { contentOf } from './import-body.js';
import { ImportService } from './import.service.js';
import {
  DomainRecordDto,
  ExportQueryDto,
  ImportQueryDto,
  ImportRequest,
  type ImportResultDto,
} from './transfer.dto.js';

@Controller('api/v1')
export class TransferController {
  constructor(
    private readonly imports: ImportService,
    private readonly exports: ExportService,
  ) {}

  @Post('import')
  @ApiHeader({ name: 'Prefer', required: false, description: 'respond-async: as wait=false.' })
  @ServesJob(ImportService, 'import', {
    id: 'import_domains',
    body: recordsContent(DomainRecordDto, { domain: 'shop.example.com', ip: '10.0.0.1', http_port: 8080 }),
  })
  async import(
    @Query() query: ImportQueryDto,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ImportResultDto | AcceptedDto> {
    const input = new ImportRequest(query, contentOf(request));
    if (query.dry_run) return this.imports.import(input);
    return answerJob(await this.imports.start(input), query.wait ?? !prefersAsync(request), reply);
  }

  @Get('export')
  @Serves(ExportService, 'export', { id: 'export_domains', response: recordsContent(DomainRecordDto) })
  export(@Query() query: ExportQueryDto): Promise<StreamableFile> {
    return this.exports.export(query);
  }
}
