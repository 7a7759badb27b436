import { Controller, Get, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { PageQueryDto } from '../contract/pages/page.dto.js';
import { Serves } from '../contract/rest-operation.js';
import {
  BackendListDto,
  ConnectionsDto,
  ConnectionsQueryDto,
  FrontendListDto,
  ListBackendsDto,
} from './monitoring.dto.js';
import { MonitoringService } from './monitoring.service.js';
import { StatsDto, StatsQueryDto } from './stats.dto.js';
import { StatsService } from './stats.service.js';

@ApiTags('monitoring')
@Controller('api/v1')
export class MonitoringController {
  constructor(
    private readonly monitoring: MonitoringService,
    private readonly statistics: StatsService,
  ) {}

  @Get('stats')
  @Serves(StatsService, 'stats')
  stats(@Query() query: StatsQueryDto): Promise<StatsDto> {
    return this.statistics.stats(query);
  }

  @Get('backends')
  @Serves(MonitoringService, 'backends')
  backends(@Query() query: ListBackendsDto): Promise<BackendListDto> {
    return this.monitoring.backends(query);
  }

  @Get('frontends')
  @Serves(MonitoringService, 'frontends')
  frontends(@Query() query: PageQueryDto): Promise<FrontendListDto> {
    return this.monitoring.frontends(query);
  }

  @Get('connections')
  @Serves(MonitoringService, 'connections')
  connections(@Query() query: ConnectionsQueryDto): Promise<ConnectionsDto> {
    return this.monitoring.connections(query);
  }
}
