import { Body, Controller, Delete, Get, Param, Post, Put, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DomainRefDto, NewDomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { answerCreated, joined, Serves } from '../contract/rest-operation.js';
import {
  AddDomainDto,
  ChangedDomainDto,
  DomainDetailsDto,
  DomainListDto,
  ListDomainsDto,
  PutDomainBodyDto,
  PutDomainResultDto,
  RemoveDomainQueryDto,
  RemovedDomainDto,
  RenameDomainBodyDto,
  RenamedDomainDto,
  SetSiteBodyDto,
} from './domains.dto.js';
import { DomainsService } from './domains.service.js';

@Controller('api/v1/domains')
export class DomainsController {
  constructor(private readonly domains: DomainsService) {}

  @Get()
  @Serves(DomainsService, 'list')
  list(@Query() query: ListDomainsDto): Promise<DomainListDto> {
    return this.domains.list(query);
  }

  @Post()
  @Serves(DomainsService, 'add', {
    created: true,
    example: { domain: 'shop.example.com', ip: '10.0.0.1', http_port: 8080 },
  })
  async add(
    @Body() body: AddDomainDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ChangedDomainDto> {
    return answerCreated(reply, await this.domains.add(body), urlOf);
  }

  @Get(':domain')
  @Serves(DomainsService, 'get')
  get(@Param() path: DomainRefDto): Promise<DomainDetailsDto> {
    return this.domains.get(path);
  }

  @Put(':domain')
  @Serves(DomainsService, 'put', {
    created: true,
    example: { servers: [{ ip: '10.0.0.1', http_port: 8080, weight: 1, state: 'ready' }] },
  })
  async put(
    @Param() { domain }: NewDomainRefDto,
    @Body() body: PutDomainBodyDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<PutDomainResultDto> {
    const put = await this.domains.put({ ...body, domain });
    return put.result === 'created' ? answerCreated(reply, put, urlOf) : put;
  }

  @Put(':domain/site')
  @Serves(DomainsService, 'setSite', { example: { site: { https: 'redirect', hsts_max_age: 31_536_000 } } })
  setSite(@Param() { domain }: DomainRefDto, @Body() body: SetSiteBodyDto): Promise<ChangedDomainDto> {
    return this.domains.setSite({ ...body, domain });
  }

  @Post(':domain/rename')
  @Serves(DomainsService, 'rename')
  rename(@Param() { domain }: DomainRefDto, @Body() body: RenameDomainBodyDto): Promise<RenamedDomainDto> {
    return this.domains.rename({ ...body, domain });
  }

  @Delete(':domain')
  @Serves(DomainsService, 'remove')
  remove(@Param() path: DomainRefDto, @Query() query: RemoveDomainQueryDto): Promise<RemovedDomainDto> {
    return this.domains.remove(joined(path, query));
  }
}

function urlOf({ domain }: ChangedDomainDto): string {
  return `/api/v1/domains/${encodeURIComponent(domain)}`;
}
