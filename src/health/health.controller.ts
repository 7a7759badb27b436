import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { Serves } from '../contract/rest-operation.js';
import { HealthDto } from './health.dto.js';
import { HealthService } from './health.service.js';
import { DomainHealthDto, ListServerHealthDto, ServerHealthListDto } from './server-health.dto.js';
import { ServerHealthService } from './server-health.service.js';

@ApiTags('health')
@Controller('api/v1')
export class HealthController {
  constructor(
    private readonly suite: HealthService,
    private readonly servers: ServerHealthService,
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

  @Get('servers/health')
  @Serves(ServerHealthService, 'servers')
  serverHealth(@Query() query: ListServerHealthDto): Promise<ServerHealthListDto> {
    return this.servers.servers(query);
  }
}
