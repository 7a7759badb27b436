import { Controller, Get, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Serves } from '../contract/rest-operation.js';
import { ExplainDto, ExplainResultDto } from './explain.dto.js';
import { ExplainService } from './explain.service.js';

@ApiTags('health')
@Controller('api/v1/explain')
export class ExplainController {
  constructor(private readonly service: ExplainService) {}

  @Get()
  @Serves(ExplainService, 'explain')
  explain(@Query() query: ExplainDto): Promise<ExplainResultDto> {
    return this.service.explain(query);
  }
}
