import { IntersectionType, OmitType } from '@nestjs/swagger';
import { DomainRefDto, NewDomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { DryRunDto, PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import {
  ArrayField,
  BooleanField,
  ExistingDomainField,
  IntField,
  IpField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';
import { HttpPortField } from '../contract/fields/server.dto.js';
import { BACKEND_NAME } from '../model/pool-name.js';
import { DEFAULT_HTTP_PORT } from '../model/server.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { StillOpenDto } from '../servers/servers.dto.js';

export class AddDomainDto extends IntersectionType(NewDomainRefDto, DryRunDto) {
  @IpField({ description: 'Address of its first server. Not with share_with.', optional: true })
  ip?: string;

  @HttpPortField()
  http_port: number = DEFAULT_HTTP_PORT;

  @ExistingDomainField({
    description: 'An existing domain whose pool and servers the new domain shares. Not with ip.',
    example: 'www.example.com',
    optional: true,
  })
  share_with?: string;

  @StringField({
    description: "The operator's own backend to point at, instead of ip and share_with.",
    example: 'be_static',
    pattern: BACKEND_NAME,
    rule: 'the name of a backend in haproxy.cfg, such as be_static',
    optional: true,
  })
  backend?: string;
}

export class RemoveDomainDto extends IntersectionType(DomainRefDto, DryRunDto) {}

/** The body of `PUT /domains/{domain}`. The domain is in the path. */
export class PutDomainBodyDto extends OmitType(AddDomainDto, ['domain']) {}

export class ListDomainsDto extends PageQueryDto {
  @BooleanField({ description: 'Include wildcards (*.example.com).' })
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
    pattern: BACKEND_NAME,
    rule: 'the name of a pool, such as pool_5',
    optional: true,
  })
  pool?: string;
}

export class DomainDto {
  @StringField({ description: 'The canonical domain.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'The HAProxy backend that serves it.', example: 'pool_5' })
  pool: string;

  @BooleanField({ description: 'Whether it is a wildcard, which matches exactly one label.' })
  wildcard: boolean;

  @BooleanField({ description: "Whether the pool is the operator's own backend, with servers of its own." })
  external: boolean;

  @ArrayField('string', {
    description: 'Other domains of the pool: at most 100, in lists at most 10.',
    example: ['www.example.com'],
  })
  shared_with: string[];

  @IntField({ description: 'Number of other domains of the pool.', min: 0, example: 1 })
  shared_count: number;

  @IntField({ description: 'Servers in the pool.', min: 0, example: 2 })
  server_count: number;
}

/** The domain after the change; in a dry run, after the planned change. */
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
    description: 'Whether it was the last domain of its pool, so that the pool is free.',
  })
  pool_freed: boolean;

  @IntField({ description: 'Servers that were removed with the pool.', min: 0, example: 0 })
  servers_removed: number;

  @NestedField(StillOpenDto, {
    description: 'What workers still have open to these servers; absent if nothing.',
    optional: true,
  })
  still_open?: StillOpenDto;
}
