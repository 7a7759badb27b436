import { IntersectionType, OmitType } from '@nestjs/swagger';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import {
  ArrayField,
  BooleanField,
  EnumField,
  IntField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';
import { DomainChangeDto } from '../contract/preconditions/precondition.dto.js';
import {
  CHECK_METHODS,
  CHECK_TYPES,
  MAX_CHECKS,
  MAX_CONNECTIONS,
  MAX_POOL_SECONDS,
  MAX_RETRIES,
  POOL_PROTOCOLS,
  type PoolCheck,
  type PoolProtocol,
  SEND_PROXY,
} from '../model/options/pool-options.js';

/** `findPoolOptionsProblem` has the rules for the texts. */
const text = (description: string, example: string) =>
  StringField({ description, example, maxLength: 2000, openApiOnlyLimits: true, optional: true });
const seconds = (description: string) =>
  IntField({ description, min: 1, max: MAX_POOL_SECONDS, example: 5, optional: true });

class PoolCheckDto implements PoolCheck {
  @EnumField(CHECK_TYPES, { description: 'tcp: connect only.', example: 'http' })
  type: PoolCheck['type'];

  @EnumField(CHECK_METHODS, { description: 'Default GET.', example: 'GET', optional: true })
  method?: NonNullable<PoolCheck['method']>;

  @text('Default /.', '/healthz')
  path?: string;

  @text('The Host that it sends.', 'shop.example.com')
  host?: string;

  @IntField({ description: 'Default 200 to 399.', min: 100, max: 599, example: 200, optional: true })
  status?: number;

  @seconds('Seconds between checks; default 2.')
  interval?: number;

  @IntField({
    description: 'Passed checks until UP; default 2.',
    min: 1,
    max: MAX_CHECKS,
    example: 2,
    optional: true,
  })
  rise?: number;

  @IntField({
    description: 'Failed checks until DOWN; default 3.',
    min: 1,
    max: MAX_CHECKS,
    example: 3,
    optional: true,
  })
  fall?: number;
}

class PoolTimeoutsDto {
  @seconds('To connect.')
  connect?: number;

  @seconds('For data of the server.')
  server?: number;

  @seconds('In the queue.')
  queue?: number;

  @seconds('Of an idle WebSocket.')
  tunnel?: number;
}

/** The options of a pool, as callers see them. */
export class PoolOptionsDto {
  @text(
    'roundrobin, leastconn, random, source, uri, hdr(NAME), url_param NAME or hash EXPRESSION.',
    'leastconn',
  )
  balance?: string;

  @NestedField(PoolCheckDto, { description: 'The health check.', optional: true })
  check?: PoolCheckDto;

  @text('Cookie that keeps a visitor on one server.', 'srv')
  sticky?: string;

  @EnumField(POOL_PROTOCOLS, { description: 'To the servers.', example: 'https', optional: true })
  protocol?: PoolProtocol;

  @BooleanField({ description: 'Verify the certificates of https and h2; default true.', optional: true })
  verify?: boolean;

  @text('TLS name of the servers; default the Host.', 'shop.internal')
  sni?: string;

  @text('Host that the servers get.', 'shop.internal')
  host?: string;

  @EnumField(SEND_PROXY, { description: 'Send a PROXY header.', example: 'v2', optional: true })
  send_proxy?: (typeof SEND_PROXY)[number];

  @IntField({
    description: 'Of each server; others queue.',
    min: 1,
    max: MAX_CONNECTIONS,
    example: 100,
    optional: true,
  })
  max_connections?: number;

  @NestedField(PoolTimeoutsDto, { description: 'Seconds.', optional: true })
  timeouts?: PoolTimeoutsDto;

  @IntField({
    description: 'After a failed connection.',
    min: 0,
    max: MAX_RETRIES,
    example: 3,
    optional: true,
  })
  retries?: number;
}

export class SetPoolOptionsDto extends IntersectionType(DomainRefDto, DryRunDto) {
  @NestedField(PoolOptionsDto, {
    description:
      'balance, check {type: tcp|http, path, host, status, interval, rise, fall}, sticky, protocol, verify, sni, host, ' +
      'send_proxy, max_connections, timeouts {connect, server, queue, tunnel}, retries. {}: defaults.',
    example: { retries: 2 },
    briefInTools: true,
  })
  options: PoolOptionsDto;
}

/** The body of `PUT /domains/{domain}/pool-options`. The domain is in the path. */
export class PoolOptionsBodyDto extends OmitType(SetPoolOptionsDto, ['domain']) {}

export class PoolOptionsResultDto extends DomainChangeDto {
  @StringField({ description: 'The domain.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'Its pool.', example: 'pool_5' })
  pool: string;

  @NestedField(PoolOptionsDto, {
    description: 'The options of the pool after the change; empty: the defaults.',
    example: { balance: 'leastconn' },
  })
  options: PoolOptionsDto;

  @ArrayField('string', {
    description: 'Other domains of the pool, which have the same options; at most 100.',
    example: [],
  })
  also_changed: string[];
}
