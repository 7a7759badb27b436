import { DryRunDto, LongPlannedDto } from '../contract/dry-run/dry-run.dto.js';
import {
  ArrayField,
  BooleanField,
  DomainField,
  EnumField,
  IntField,
  IpField,
  StringField,
} from '../contract/fields/fields.js';
import { HttpPortField, SlotField } from '../contract/fields/server.dto.js';
import { MAX_WEIGHT, SERVER_STATES, type ServerState } from '../model/server.js';
import type { ImportContent } from './import-content.js';

export const IMPORT_MODES = ['merge', 'replace'] as const;
export type ImportMode = (typeof IMPORT_MODES)[number];

/** What to do about a line that is wrong. */
export const ON_ERROR = ['abort', 'skip'] as const;

export class TransferServerDto {
  @SlotField({ description: 'Its slot; 0 or none takes the lowest free one.', min: 0, optional: true })
  slot?: number;

  @IpField({ description: 'IPv4 or IPv6 address.' })
  ip: string;

  @HttpPortField({ optional: true })
  http_port?: number;

  @IntField({
    description: 'Share of the requests; 1 for a new server where it is not given.',
    min: 0,
    max: MAX_WEIGHT,
    optional: true,
  })
  weight?: number;

  @EnumField(SERVER_STATES, {
    description: 'Its state; ready for a new server where it is not given.',
    optional: true,
  })
  state?: ServerState;
}

/** One line of an export, and of an import. Read by `readRecord`, which holds it to the same rules. */
export class DomainRecordDto {
  @DomainField({ description: 'The domain, or a wildcard such as *.example.com.' })
  domain: string;

  @DomainField({
    description:
      'A domain whose pool it joins: one that is there, or of any line without share_with, or of an earlier line. ' +
      'Not together with pool, servers or ip.',
    example: 'www.example.com',
    optional: true,
  })
  share_with?: string;

  @StringField({
    description:
      'The pool to take. For mode=merge a wish: where it is taken, the lowest free one is. An export has it.',
    example: 'pool_5',
    optional: true,
  })
  pool?: string;

  @ArrayField(TransferServerDto, { description: 'The servers of its pool.', optional: true })
  servers?: TransferServerDto[];

  @IpField({ description: 'Instead of servers: the address of the only one.', optional: true })
  ip?: string;

  @HttpPortField({ optional: true })
  http_port?: number;
}

export class ImportQueryDto extends DryRunDto {
  @EnumField(IMPORT_MODES, {
    description:
      'merge adds what is not there, and sets weights and states that are given; it takes nothing from anyone. ' +
      'replace makes the lines all there is: domains and servers on no line are removed.',
  })
  mode: ImportMode = 'merge';

  @EnumField(ON_ERROR, {
    description:
      'abort: one wrong line, and nothing is changed. skip (merge only): wrong lines are left out and told.',
  })
  on_error: (typeof ON_ERROR)[number] = 'abort';

  @BooleanField({
    description:
      'false: answer 202 with an operation once the lines are read, and tell there how far it is (Prefer: ' +
      'respond-async does the same). true or absent: answer when it is done.',
    optional: true,
  })
  wait?: boolean;
}

/** What the service is given. The content is no declared field, so that no log holds it. */
export class ImportRequest extends ImportQueryDto {
  readonly content: ImportContent;

  constructor(query: ImportQueryDto, content: ImportContent = []) {
    super();
    Object.assign(this, query);
    this.content = content;
  }
}

export class SkippedLineDto {
  @IntField({ description: 'Its number; of a JSON array the position, from 1.', min: 1, example: 7 })
  line: number;

  @StringField({ description: 'The code of the error.', example: 'domain_exists' })
  code: string;

  @StringField({ description: 'What is wrong.', example: 'domain must be a domain' })
  message: string;
}

export class ImportResultDto extends LongPlannedDto {
  @IntField({ description: 'Lines read, blank ones left out.', min: 0, example: 100_000 })
  lines: number;

  @IntField({ description: 'Domains that are new.', min: 0, example: 100_000 })
  domains_added: number;

  @IntField({ description: 'Domains that are in another pool now.', min: 0, example: 0 })
  domains_moved: number;

  @IntField({ description: 'Domains that are gone.', min: 0, example: 0 })
  domains_removed: number;

  @IntField({ description: 'Servers that are new.', min: 0, example: 2 })
  servers_added: number;

  @IntField({ description: 'Servers with another address, weight or state.', min: 0, example: 0 })
  servers_changed: number;

  @IntField({ description: 'Servers that are gone.', min: 0, example: 0 })
  servers_removed: number;

  @IntField({ description: 'Lines left out with on_error=skip.', min: 0, example: 0 })
  skipped_count: number;

  @ArrayField(SkippedLineDto, { description: 'The first 100 of them.' })
  skipped: SkippedLineDto[];
}

export const EXPORT_FORMATS = ['ndjson', 'json'] as const;

export class ExportQueryDto {
  @EnumField(EXPORT_FORMATS, {
    description: 'ndjson: a domain a line. json: the same as one array. Both can be imported.',
  })
  format: (typeof EXPORT_FORMATS)[number] = 'ndjson';
}
