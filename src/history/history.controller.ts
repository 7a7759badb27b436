import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { joined, Serves } from '../contract/rest-operation.js';
import {
  HistoryDto,
  HistoryQueryDto,
  RevisionDto,
  RevisionRefDto,
  RollbackDto,
  TakenBackDto,
} from './history.dto.js';
import { HistoryService } from './history.service.js';

@Controller('api/v1/history')
export class HistoryController {
  constructor(private readonly history: HistoryService) {}

  @Get()
  @Serves(HistoryService, 'list')
  list(@Query() query: HistoryQueryDto): Promise<HistoryDto> {
    return this.history.list(query);
  }

  @Post('rollback')
  @Serves(HistoryService, 'rollback')
  rollback(@Body() body: RollbackDto): Promise<TakenBackDto> {
    return this.history.rollback(body);
  }

  @Get(':revision')
  @Serves(HistoryService, 'get')
  get(@Param() path: RevisionRefDto): Promise<RevisionDto> {
    return this.history.get(path);
  }

  @Post(':revision/undo')
  @Serves(HistoryService, 'undo')
  undo(@Param() path: RevisionRefDto, @Body() body: DryRunDto): Promise<TakenBackDto> {
    return this.history.undo(joined(path, body));
  }
}
