import { Body, Controller, Delete, Get, Param, Post, Put, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { PageQueryDto } from '../contract/pages/page.dto.js';
import { answerCreated, joined, Serves } from '../contract/rest-operation.js';
import {
  AddServerBodyDto,
  AddServersBodyDto,
  ChangedServerDto,
  DomainStateDto,
  RemovedServerDto,
  ServerListDto,
  ServerRefDto,
  ServersDto,
  StateBodyDto,
  WaitDrainBodyDto,
  WaitDrainPathDto,
  WaitDrainResultDto,
  WeightBodyDto,
} from './servers.dto.js';
import { ServersService } from './servers.service.js';
import { WaitDrainService } from './wait-drain.service.js';

@Controller('api/v1/domains/:domain')
export class ServersController {
  constructor(
    private readonly servers: ServersService,
    private readonly drains: WaitDrainService,
  ) {}

  @Get('servers')
  @Serves(ServersService, 'list')
  list(@Param() { domain }: DomainRefDto, @Query() query: PageQueryDto): Promise<ServerListDto> {
    return this.servers.list({ ...query, domain });
  }

  @Post('servers')
  @Serves(ServersService, 'add', { created: true, example: { ip: '10.0.0.2', http_port: 8080 } })
  async add(
    @Param() { domain }: DomainRefDto,
    @Body() body: AddServerBodyDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ChangedServerDto> {
    return answerCreated(reply, await this.servers.add({ ...body, domain }), () => serversUrl(domain));
  }

  @Post('servers/bulk')
  @Serves(ServersService, 'addMany', { created: true })
  async addMany(
    @Param() { domain }: DomainRefDto,
    @Body() body: AddServersBodyDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ServersDto> {
    return answerCreated(reply, await this.servers.addMany({ ...body, domain }), () => serversUrl(domain));
  }

  @Delete('servers/:slot')
  @Serves(ServersService, 'remove')
  remove(@Param() path: ServerRefDto, @Query() query: DryRunDto): Promise<RemovedServerDto> {
    return this.servers.remove(joined(path, query));
  }

  @Put('servers/:slot/state')
  @Serves(ServersService, 'setState')
  setState(@Param() path: ServerRefDto, @Body() body: StateBodyDto): Promise<ChangedServerDto> {
    return this.servers.setState({ ...body, ...path });
  }

  @Put('servers/:slot/weight')
  @Serves(ServersService, 'setWeight')
  setWeight(@Param() path: ServerRefDto, @Body() body: WeightBodyDto): Promise<ChangedServerDto> {
    return this.servers.setWeight({ ...body, ...path });
  }

  @Put('state')
  @Serves(ServersService, 'setDomainState')
  setDomainState(@Param() { domain }: DomainRefDto, @Body() body: StateBodyDto): Promise<DomainStateDto> {
    return this.servers.setDomainState({ ...body, domain });
  }

  @Post('servers/:slot/wait-drain')
  @Serves(WaitDrainService, 'wait', { example: { timeout: 5 } })
  waitDrain(@Param() path: WaitDrainPathDto, @Body() body: WaitDrainBodyDto): Promise<WaitDrainResultDto> {
    return this.drains.wait({ ...body, ...path });
  }
}

/** A single server has no URL of its own. */
function serversUrl(domain: string): string {
  return `/api/v1/domains/${encodeURIComponent(domain)}/servers`;
}
