import { IntersectionType, OmitType } from '@nestjs/swagger';
import { DomainRefDto, NewDomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { DomainChangeDto, EtagField } from '../contract/preconditions/precondition.dto.js';
import {
  ArrayField,
  BooleanField,
  DateTimeField,
  DomainField,
  DurationField,
  ExpiresInField,
  EnumField,
  ExistingDomainField,
  IntField,
  IpField,
  LabelsField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';
import { HttpPortField, ServerDto, WeightField } from '../contract/fields/server.dto.js';
import { HostCertificateDto } from '../certificates/host-certificate.dto.js';
import { BACKEND_NAME } from '../model/names/pool-name.js';
import {
  DEFAULT_HTTP_PORT,
  DEFAULT_WEIGHT,
  MAX_PORT,
  MAX_SLOT,
  SERVER_STATES,
  type ServerState,
} from '../model/server.js';
import { LABEL_FILTER, type Labels } from '../model/options/labels.js';
import type { SiteOptions } from '../model/options/options.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { PoolOptionsDto } from './pool-options.dto.js';
import { StillOpenDto } from '../servers/servers.dto.js';
import { SetSiteDto, SiteField } from './site.dto.js';

/** A server of a domain, without its slot. */
export class DeclaredServerDto {
  @IpField({ description: 'IPv4 or IPv6 address, no host name.' })
  ip: string;

  @HttpPortField()
  http_port: number = DEFAULT_HTTP_PORT;

  @WeightField()
  weight: number = DEFAULT_WEIGHT;

  @EnumField(SERVER_STATES, { description: 'Its state.', example: 'ready' })
  state: ServerState = 'ready';
}

/** What a domain should be. PUT keeps the value of a field that is not given. */
export class AddDomainDto extends IntersectionType(NewDomainRefDto, DryRunDto) {
  @IpField({
    description: 'Address of its only server.',
    optional: true,
  })
  ip?: string;

  @IntField({
    description: 'Port of ip. A new server without it gets 80.',
    min: 1,
    max: MAX_PORT,
    example: 80,
    optional: true,
  })
  http_port?: number;

  @ArrayField(DeclaredServerDto, {
    description: 'All its servers, instead of ip; may be empty.',
    example: [
      { ip: '10.0.0.1', http_port: 80, weight: 80 },
      { ip: '10.0.0.2', http_port: 80, weight: 20 },
    ],
    maxItems: MAX_SLOT,
    orJsonText: true,
    optional: true,
  })
  servers?: DeclaredServerDto[];

  @ExistingDomainField({
    description: 'An existing domain whose pool and servers it shares.',
    example: 'www.example.com',
    optional: true,
  })
  share_with?: string;

  @StringField({
    description: 'A backend that haproxy.cfg declares.',
    example: 'be_static',
    pattern: BACKEND_NAME,
    openApiOnlyLimits: true,
    rule: 'the name of a backend in haproxy.cfg, such as be_static',
    optional: true,
  })
  backend?: string;

  @LabelsField({
    description: 'All its labels (at most 16).',
    example: { team: 'web' },
    optional: true,
  })
  labels?: Labels;

  @SiteField({ description: 'See {haproxy_set_site}.' })
  site?: SiteOptions;

  @ExpiresInField({
    description: 'Remove it after this time: 30m, 12h, 7d; never: keep it.',
    example: '7d',
    optional: true,
  })
  expires_in?: string;

  @DateTimeField({
    description: 'Remove it at this time.',
    example: '2030-12-31T12:00:00Z',
    optional: true,
  })
  expires_at?: string;
}

/** The same fields as for adding a domain. */
export class PutDomainDto extends AddDomainDto {}

/** The body of `PUT /domains/{domain}`. The domain is in the path. */
export class PutDomainBodyDto extends OmitType(PutDomainDto, ['domain']) {}

/** The body of `PUT /domains/{domain}/site`. The domain is in the path. */
export class SetSiteBodyDto extends OmitType(SetSiteDto, ['domain']) {}

export class RenameDomainDto extends IntersectionType(DomainRefDto, DryRunDto) {
  @DomainField({ description: 'The new name, which must not exist yet.', example: 'new.example.com' })
  to: string;
}

/** The body of `POST /domains/{domain}/rename`. The domain is in the path. */
export class RenameDomainBodyDto extends OmitType(RenameDomainDto, ['domain']) {}

export class RemoveDomainDto extends IntersectionType(DomainRefDto, DryRunDto) {
  @BooleanField({ description: 'Answer with removed=false instead of an error if there is no such domain.' })
  missing_ok: boolean = false;
}

/** The query of `DELETE /domains/{domain}`. The domain is in the path. */
export class RemoveDomainQueryDto extends OmitType(RemoveDomainDto, ['domain']) {}

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
    openApiOnlyLimits: true,
    rule: 'the name of a pool, such as pool_5',
    optional: true,
  })
  pool?: string;

  @StringField({
    description: 'Only domains with this label: key=value or key.',
    example: 'team=web',
    pattern: LABEL_FILTER,
    rule: 'the key of a label, such as team, or key=value, such as team=web',
    optional: true,
  })
  label?: string;

  @DurationField({
    description: 'Only domains that expire within this time: 30m, 12h, 7d.',
    example: '12h',
    optional: true,
  })
  expires_within?: string;
}

export class DomainDto {
  @StringField({ description: 'The canonical domain.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'The HAProxy backend that serves it.', example: 'pool_5' })
  pool: string;

  @LabelsField({ description: 'Its labels; absent without any.', example: { team: 'web' }, optional: true })
  labels?: Labels;

  @DateTimeField({
    description: 'When the suite removes it; absent if never.',
    example: '2030-12-31T12:00:00Z',
    optional: true,
  })
  expires_at?: string;

  @SiteField({ description: 'The options of its site; absent without any.' })
  site?: SiteOptions;

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

/** A domain with its servers and its certificate. */
export class DomainDetailsDto extends DomainDto {
  @ArrayField(ServerDto, {
    description: 'The servers of its pool by slot, at most 100. Empty if external is true.',
  })
  servers: ServerDto[];

  @NestedField(PoolOptionsDto, {
    description: 'The options of its pool; absent without any.',
    optional: true,
  })
  pool_options?: PoolOptionsDto;

  @NestedField(HostCertificateDto, {
    description: 'The certificate for https; absent if no file in the certificate folder has the name.',
    optional: true,
  })
  certificate?: HostCertificateDto;

  @StringField({
    description: 'Why the certificate, or whether visitors get it, is not known.',
    optional: true,
  })
  certificate_problem?: string;

  @EtagField()
  etag: string;
}

/** The domain after the change; in a dry run, after the planned change. */
export class ChangedDomainDto extends IntersectionType(DomainDto, DomainChangeDto) {}

const PUT_RESULTS = ['created', 'changed', 'unchanged'] as const;

export class PutDomainResultDto extends ChangedDomainDto {
  @EnumField(PUT_RESULTS, {
    description: 'What the call did; in a dry run, what it would do.',
    example: 'changed',
  })
  result: (typeof PUT_RESULTS)[number];

  @ArrayField(ServerDto, {
    description: 'The servers of its pool by slot, at most 100. Empty if external is true.',
  })
  servers: ServerDto[];

  @ArrayField('string', {
    description: 'Other domains of the pool whose servers changed with it; at most 100.',
    example: [],
  })
  also_changed: string[];

  @NestedField(StillOpenDto, {
    description: 'What workers still have open to servers that were removed; absent if nothing.',
    optional: true,
  })
  still_open?: StillOpenDto;
}

class RenamedCertificateDto {
  @ArrayField('string', {
    description: 'Files with a certificate for the former name. They stay.',
    example: ['/opt/haproxy/certs/example.com.pem'],
  })
  former_name: string[];

  @ArrayField('string', { description: 'Files with a certificate for the new name.', example: [] })
  new_name: string[];

  @StringField({ description: 'What to do for https.' })
  detail: string;
}

export class RenamedDomainDto extends ChangedDomainDto {
  @StringField({ description: 'The former name.', example: 'example.com' })
  former_name: string;

  @NestedField(RenamedCertificateDto, {
    description: 'What happens to https. A certificate is for a name and does not move.',
  })
  certificate: RenamedCertificateDto;
}

export class DomainListDto extends PageDto {
  @ArrayField(DomainDto, { description: 'The domains of this page, sorted by name.' })
  items: DomainDto[];
}

export class RemovedDomainDto extends DomainChangeDto {
  @StringField({ description: 'The domain.', example: 'example.com' })
  domain: string;

  @BooleanField({ description: 'False only with missing_ok, if there was no such domain.' })
  removed: boolean;

  @StringField({
    description: 'The pool it was in; absent if removed is false.',
    example: 'pool_5',
    optional: true,
  })
  pool?: string;

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
