import { Readable } from 'node:stream';
import { Controller, Get, Post, Query, Req, type StreamableFile } from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiProduces } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { AppError } from '../common/errors.js';
import { Serves } from '../common/rest-operation.js';
import {
  DomainRecordDto,
  ExportQueryDto,
  ImportQueryDto,
  ImportRequest,
  type ImportResultDto,
} from './transfer.dto.js';
import { TransferService } from './transfer.service.js';

@Controller('api/v1')
export class TransferController {
  constructor(private readonly transfer: TransferService) {}

  @Post('import')
  @ApiConsumes('application/x-ndjson', 'application/json')
  @ApiBody({ type: [DomainRecordDto], description: 'A domain a line, or one array of them.' })
  @Serves(TransferService, 'import')
  import(@Query() query: ImportQueryDto, @Req() { body }: FastifyRequest): Promise<ImportResultDto> {
    return this.transfer.import(new ImportRequest(query, contentOf(body)));
  }

  @Get('export')
  @ApiProduces('application/x-ndjson', 'application/json')
  @Serves(TransferService, 'export')
  export(@Query() query: ExportQueryDto): Promise<StreamableFile> {
    return this.transfer.export(query);
  }
}

/** @throws AppError validation_failed */
function contentOf(body: unknown): Readable | readonly unknown[] {
  if (body instanceof Readable || Array.isArray(body)) return body;
  const message = 'must be lines of JSON (Content-Type: application/x-ndjson) or a JSON array';
  throw new AppError('validation_failed', `body ${message}.`, { errors: [{ field: 'body', message }] });
}
