import { Body, Controller, Delete, Get, Param, Post, Put, Query } from '@nestjs/common';
import { DomainRefDto, NewDomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { joined, Serves } from '../contract/rest-operation.js';
import {
  AddDomainDto,
  ChangedDomainDto,
  DomainListDto,
  ListDomainsDto,
  PutDomainBodyDto,
  RemovedDomainDto,
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
    status: 201,
    example: { domain: 'shop.example.com', ip: '10.0.0.1', http_port: 8080 },
  })
  add(@Body() body: AddDomainDto): Promise<ChangedDomainDto> {
    return this.domains.add(body);
  }

  @Put(':domain')
  @Serves(DomainsService, 'put', { example: { ip: '10.0.0.1', http_port: 80 } })
  put(@Param() { domain }: NewDomainRefDto, @Body() body: PutDomainBodyDto): Promise<ChangedDomainDto> {
    return this.domains.put({ ...body, domain });
  }

  @Delete(':domain')
  @Serves(DomainsService, 'remove')
  remove(@Param() path: DomainRefDto, @Query() query: DryRunDto): Promise<RemovedDomainDto> {
    return this.domains.remove(joined(path, query));
  }
}
