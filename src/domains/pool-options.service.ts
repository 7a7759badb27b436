import { Injectable } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import { invalidField } from '../errors/invalid-fields.js';
import { OperatorConfig } from '../haproxy/config/operator-config.js';
import {
  findPoolOptionsProblem,
  type PoolOptions,
  withoutEmptyOptions,
} from '../model/options/pool-options.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { type PoolOptionsDto, PoolOptionsResultDto, SetPoolOptionsDto } from './pool-options.dto.js';
import { setPoolOptions } from './pool-options-rules.js';

/** The options of pools: how HAProxy chooses, checks and connects to the servers. */
@Injectable()
export class PoolOptionsService {
  constructor(
    private readonly persistence: PersistenceService,
    private readonly operatorConfig: OperatorConfig,
  ) {}

  @Operation({
    name: 'haproxy_set_pool_options',
    scope: 'all',
    title: 'Set the options of a pool',
    description:
      'Replaces all options of the pool of a domain, also for domains that share it. One reload, no failed request.',
    output: PoolOptionsResultDto,
    adminOnly: true,
    conditional: true,
    destructive: true,
    idempotent: true,
    errors: ['domain_not_found', 'pool_external'],
  })
  async set(input: SetPoolOptionsDto): Promise<PoolOptionsResultDto> {
    const options = plainOptions(input.options);
    const { value, planned } = await this.persistence.change(
      (draft) => setPoolOptions(draft, input.domain, options, this.operatorConfig.pools),
      input,
    );
    return { ...value, ...planned };
  }
}

/** The options that are given, as the state holds them. @throws AppError validation_failed */
function plainOptions(given: PoolOptionsDto): PoolOptions | undefined {
  // Without the fields that are not given, and without the classes of the DTO.
  const options = JSON.parse(JSON.stringify(given)) as PoolOptions;
  const problem = findPoolOptionsProblem(options, ['options']);
  if (problem) throw invalidField(problem.path.join('.'), problem.reason);
  return withoutEmptyOptions(options);
}
