import { Body, Controller, Param, Put } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { Serves } from '../contract/rest-operation.js';
import { PoolOptionsBodyDto, PoolOptionsResultDto } from './pool-options.dto.js';
import { PoolOptionsService } from './pool-options.service.js';

@ApiTags('domains')
@Controller('api/v1/domains/:domain/pool-options')
export class PoolOptionsController {
  constructor(private readonly options: PoolOptionsService) {}

  @Put()
  @Serves(PoolOptionsService, 'set', {
    example: {
      options: { balance: 'leastconn', check: { type: 'http', path: '/healthz', status: 200 }, retries: 2 },
    },
  })
  set(@Param() { domain }: DomainRefDto, @Body() body: PoolOptionsBodyDto): Promise<PoolOptionsResultDto> {
    return this.options.set({ ...body, domain });
  }
}
