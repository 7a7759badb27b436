import { IntersectionType, OmitType } from '@nestjs/swagger';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { DryRunDto, PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import {
  ArrayField,
  BooleanField,
  DomainField,
  IntField,
  IpField,
  StringField,
} from '../contract/fields/fields.js';
import { HttpPortField } from '../contract/fields/server.dto.js';
import { POOL_NAME } from '../model/pool-name.js';
import { DEFAULT_HTTP_PORT } from '../model/server.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';

export class AddDomainDto extends IntersectionType(DomainRefDto, DryRunDto) {
  @IpField({ description: 'Address of a first server. Not together with share_with.', optional: true })
  ip?: string;

  @HttpPortField()
  http_port: number = DEFAULT_HTTP_PORT;

  @DomainField({
    description:
      'A domain that is there already, whose pool (and servers) the new one joins. Not together with ip.',
    example: 'www.example.com',
    optional: true,
  })
  share_with?: string;
}

export class RemoveDomainDto extends IntersectionType(DomainRefDto, DryRunDto) {}

/** What `PUT /domains/{domain}` takes: the domain is in the path. */
export class PutDomainBodyDto extends OmitType(AddDomainDto, ['domain']) {}

export class ListDomainsDto extends PageQueryDto {
  @BooleanField({ description: 'List wildcards (*.example.com) as well.' })
  include_wildcards: boolean = false;

  @StringField({
    description: 'Only domains that contain this text.',
    example: 'shop',
    maxLength: 253,
    optional: true,
  })
  search?: string;

  @StringField({
    description: 'Only domains of this pool.',
    example: 'pool_5',
    pattern: POOL_NAME,
    rule: 'the name of a pool, such as pool_5',
    optional: true,
  })
  pool?: string;
}

export class DomainDto {
  @StringField({ description: 'The domain, canonical.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'The HAProxy backend that answers for it.', example: 'pool_5' })
  pool: string;

  @BooleanField({ description: 'Whether it is a wildcard, which matches exactly one label.' })
  wildcard: boolean;

  @ArrayField('string', {
    description: 'Other domains of the pool: the first 100, in lists the first 10.',
    example: ['www.example.com'],
  })
  shared_with: string[];

  @IntField({ description: 'How many other domains the pool has.', min: 0, example: 1 })
  shared_count: number;

  @IntField({ description: 'Servers in the pool.', min: 0, example: 2 })
  server_count: number;
}

/** A domain that was added or changed, or would be. */
export class ChangedDomainDto extends IntersectionType(DomainDto, PlannedDto) {}

export class DomainListDto extends PageDto {
  @ArrayField(DomainDto, { description: 'The domains of this page, sorted by name.' })
  items: DomainDto[];
}

export class RemovedDomainDto extends PlannedDto {
  @StringField({ description: 'The domain that was removed.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'The pool it was in.', example: 'pool_5' })
  pool: string;

  @BooleanField({
    description: 'Whether it was the last domain of the pool, so that the pool is free again.',
  })
  pool_freed: boolean;

  @IntField({ description: 'Servers that were removed with the pool.', min: 0, example: 0 })
  servers_removed: number;
}
