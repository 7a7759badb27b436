import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Serves } from '../contract/rest-operation.js';
import { ListOperationsDto, OperationDto, OperationListDto, OperationRefDto } from './jobs.dto.js';
import { JobsService } from './jobs.service.js';

/** REST clients see a job as an operation. */
@ApiTags('operations')
@Controller('api/v1/operations')
export class JobsController {
  constructor(private readonly jobs: JobsService) {}

  @Get()
  @Serves(JobsService, 'list')
  list(@Query() query: ListOperationsDto): Promise<OperationListDto> {
    return this.jobs.list(query);
  }

  @Get(':id')
  @Serves(JobsService, 'get')
  get(@Param() path: OperationRefDto): Promise<OperationDto> {
    return this.jobs.get(path);
  }
}
