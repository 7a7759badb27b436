import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { Serves } from '../contract/rest-operation.js';
import { HealthDto } from './health.dto.js';
import { HealthService } from './health.service.js';
import {
  DomainHealthDto,
  ListServerHealthDto,
  ServerHealthListDto,
  WaitHealthyBodyDto,
  WaitHealthyResultDto,
} from './server-health.dto.js';
import { ServerHealthService } from './server-health.service.js';
import { WaitHealthyService } from './wait-healthy.service.js';

@ApiTags('health')
@Controller('api/v1')
export class HealthController {
  constructor(
    private readonly suite: HealthService,
    private readonly servers: ServerHealthService,
    private readonly waits: WaitHealthyService,
  ) {}

  @Get('health')
  @Serves(HealthService, 'health')
  health(): Promise<HealthDto> {
    return this.suite.health();
  }

  @Get('domains/:domain/health')
  @Serves(ServerHealthService, 'domain')
  domain(@Param() path: DomainRefDto): Promise<DomainHealthDto> {
    return this.servers.domain(path);
  }

  @Post('domains/:domain/wait-healthy')
  @Serves(WaitHealthyService, 'wait', { example: { timeout: 5 } })
  waitHealthy(@Param() path: DomainRefDto, @Body() body: WaitHealthyBodyDto): Promise<WaitHealthyResultDto> {
    return this.waits.wait({ ...body, ...path });
  }

  @Get('servers/health')
  @Serves(ServerHealthService, 'servers')
  serverHealth(@Query() query: ListServerHealthDto): Promise<ServerHealthListDto> {
    return this.servers.servers(query);
  }
}
