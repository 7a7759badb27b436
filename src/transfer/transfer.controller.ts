import { Controller, Get, Post, Query, Req, Res, type StreamableFile } from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiHeader, ApiProduces } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
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
  @ApiConsumes('application/x-ndjson', 'application/json')
  @ApiBody({ type: [DomainRecordDto], description: 'One domain per line, or an array.' })
  @ApiHeader({ name: 'Prefer', required: false, description: 'respond-async: as wait=false.' })
  @ServesJob(ImportService, 'import')
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
  @ApiProduces('application/x-ndjson', 'application/json')
  @Serves(ExportService, 'export')
  export(@Query() query: ExportQueryDto): Promise<StreamableFile> {
    return this.exports.export(query);
  }
}
