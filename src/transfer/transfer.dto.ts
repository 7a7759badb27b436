import { IntersectionType } from '@nestjs/swagger';
import { DryRunDto, LongPlannedDto, StateChangeDto } from '../contract/dry-run/dry-run.dto.js';
import {
  ArrayField,
  BooleanField,
  DateTimeField,
  DomainField,
  ExpiresInField,
  EnumField,
  IntField,
  IpField,
  JsonObjectField,
  LabelsField,
  StringField,
} from '../contract/fields/fields.js';
import { HttpPortField, SlotField } from '../contract/fields/server.dto.js';
import type { Labels } from '../model/options/labels.js';
import type { PoolOptions, SiteOptions } from '../model/options/options.js';
import { MAX_WEIGHT, SERVER_STATES, type ServerState } from '../model/server.js';
import type { ImportContent } from './import-body.js';

const IMPORT_MODES = ['merge', 'replace', 'put'] as const;
export type ImportMode = (typeof IMPORT_MODES)[number];

/** What to do if a line is invalid. */
const ON_ERROR = ['abort', 'skip'] as const;

const EXPORT_FORMATS = ['ndjson', 'json'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

export class TransferServerDto {
  @SlotField({ description: 'Its slot; 0 or absent: the lowest free slot.', min: 0, optional: true })
  slot?: number;

  @IpField({ description: 'IPv4 or IPv6 address.' })
  ip: string;

  @HttpPortField({ optional: true })
  http_port?: number;

  @IntField({
    description: 'Share of the requests; default 1 for a new server.',
    min: 0,
    max: MAX_WEIGHT,
    optional: true,
  })
  weight?: number;

  @EnumField(SERVER_STATES, {
    description: 'Its state; default ready for a new server.',
    optional: true,
  })
  state?: ServerState;
}

/** One line of an export or import. `parseRecord` checks it by the same rules. */
export class DomainRecordDto {
  @DomainField({ description: 'The domain, or a wildcard such as *.example.com.' })
  domain: string;

  @DomainField({
    description:
      'The domain whose pool it shares: an existing domain, or one of any line without share_with, or of an earlier ' +
      'line. Not with pool, servers or ip.',
    example: 'www.example.com',
    optional: true,
  })
  share_with?: string;

  @StringField({
    description:
      'The pool to use. With mode=merge the lowest free pool is used if it is taken. An export has it.',
    example: 'pool_5',
    optional: true,
  })
  pool?: string;

  @ArrayField(TransferServerDto, { description: 'The servers of its pool.', optional: true })
  servers?: TransferServerDto[];

  @IpField({ description: 'Instead of servers: the only address.', optional: true })
  ip?: string;

  @HttpPortField({ optional: true })
  http_port?: number;

  @StringField({
    description: "Instead of a pool: the operator's own backend to point at.",
    example: 'be_static',
    optional: true,
  })
  backend?: string;

  @BooleanField({ description: 'mode=put only. true: the domain is removed.', optional: true })
  absent?: boolean;

  @JsonObjectField({ description: 'The options of its pool.', optional: true })
  options?: PoolOptions;

  @JsonObjectField({
    description: 'The options of the site; with mode=merge and replace also its labels and expires_at.',
    optional: true,
  })
  site?: SiteOptions;

  @LabelsField({
    description: 'mode=put only. Its labels, instead of all that it has.',
    example: { team: 'web' },
    optional: true,
  })
  labels?: Labels;

  @ExpiresInField({
    description: 'mode=put only. The suite removes it after this time; never: it stays.',
    example: '7d',
    optional: true,
  })
  expires_in?: string;

  @DateTimeField({
    description: 'mode=put only. When the suite removes it.',
    example: '2030-12-31T12:00:00Z',
    optional: true,
  })
  expires_at?: string;
}

export class ImportQueryDto extends DryRunDto {
  @EnumField(IMPORT_MODES, {
    description:
      'merge adds new domains and servers and sets given weights and states; it removes and moves nothing. ' +
      'replace also removes the domains and servers that are on no line. put makes each domain as PUT ' +
      '/api/v1/domains/{domain} does, and keeps the others.',
  })
  mode: ImportMode = 'merge';

  @EnumField(ON_ERROR, {
    description:
      'abort: one invalid line fails the import. skip (merge only): invalid lines are skipped and reported.',
  })
  on_error: (typeof ON_ERROR)[number] = 'abort';

  @BooleanField({
    description:
      'false: answer 202 with an operation when the lines are read; the operation has the progress (like Prefer: ' +
      'respond-async). true or absent: answer when it is done.',
    optional: true,
  })
  wait?: boolean;
}

/** The input of the service. `content` is not a declared field, so that no log contains it. */
export class ImportRequest extends ImportQueryDto {
  readonly content: ImportContent;

  constructor(query: ImportQueryDto, content: ImportContent = []) {
    super();
    Object.assign(this, query);
    this.content = content;
  }
}

export class SkippedLineDto {
  @IntField({ description: 'Line number, or position in the array, from 1.', min: 1, example: 7 })
  line: number;

  @StringField({ description: 'The code of the error.', example: 'domain_exists' })
  code: string;

  @StringField({ description: 'The problem.', example: 'domain must be a domain' })
  message: string;
}

export class ImportResultDto extends IntersectionType(LongPlannedDto, StateChangeDto) {
  @IntField({ description: 'Lines read, without blank lines.', min: 0, example: 100_000 })
  lines: number;

  @IntField({ description: 'New domains.', min: 0, example: 100_000 })
  domains_added: number;

  @IntField({ description: 'Domains moved to another pool.', min: 0, example: 0 })
  domains_moved: number;

  @IntField({ description: 'Removed domains.', min: 0, example: 0 })
  domains_removed: number;

  @IntField({ description: 'New servers.', min: 0, example: 2 })
  servers_added: number;

  @IntField({ description: 'Servers with a new address, weight or state.', min: 0, example: 0 })
  servers_changed: number;

  @IntField({ description: 'Removed servers.', min: 0, example: 0 })
  servers_removed: number;

  @IntField({
    description:
      'Lines skipped: invalid (on_error=skip), or with mode=put new domains whose expires_at has passed.',
    min: 0,
    example: 0,
  })
  skipped_count: number;

  @ArrayField(SkippedLineDto, { description: 'The first 100 of them.' })
  skipped: SkippedLineDto[];
}

export class ExportQueryDto {
  @EnumField(EXPORT_FORMATS, {
    description: 'ndjson: one domain per line. json: an array. Both can be imported.',
  })
  format: ExportFormat = 'ndjson';
}
