import { ArrayField, EnumField, IntField, NestedField, StringField } from '../contract/fields/fields.js';
import { DomainRecordDto } from '../transfer/transfer.dto.js';
import { MAX_LENGTH } from './convert.js';
import { EFFECTS, type Effect } from './findings.js';

const MAX_FILES = 1000;
const MAX_PATH = 4096;

export class SourceFileDto {
  @StringField({
    description: 'Its path; of a map, the path as the configuration has it.',
    example: 'haproxy.cfg',
    minLength: 1,
    maxLength: MAX_PATH,
  })
  path: string;

  @StringField({
    description: 'Its content.',
    example: 'frontend web',
    maxLength: MAX_LENGTH,
    secret: true,
  })
  text: string;
}

export class ImportHaproxyDto {
  @ArrayField(SourceFileDto, {
    description: 'The configuration files, in the order in which HAProxy reads them (-f).',
    example: [{ path: 'haproxy.cfg', text: 'frontend web' }],
    minItems: 1,
    maxItems: MAX_FILES,
  })
  files: SourceFileDto[];

  @ArrayField(SourceFileDto, {
    description: 'The maps and pattern files (acl -f) that the configuration names.',
    maxItems: MAX_FILES,
    optional: true,
  })
  maps?: SourceFileDto[];

  @ArrayField('string', {
    description: 'Only these frontends and listen sections; absent: all.',
    maxItems: MAX_FILES,
    optional: true,
  })
  frontends?: string[];

  @ArrayField('string', {
    description: 'Lines that count as comments, as PATH:LINE. For rules that can be left out.',
    maxItems: MAX_FILES,
    optional: true,
  })
  ignore?: string[];
}

export class HaproxyFindingDto {
  @StringField({ description: 'The file.', example: 'haproxy.cfg' })
  file: string;

  @IntField({ description: 'The line, from 1.', min: 1, example: 31 })
  line: number;

  @IntField({
    description: 'The last line of a section that is left out as a whole.',
    min: 1,
    optional: true,
  })
  last_line?: number;

  @StringField({ description: 'The line, without passwords.', example: 'http-request deny if is_old' })
  text: string;

  @EnumField(EFFECTS, {
    description:
      'missing: its domains have no record. differs: its domains have records, and behave differently. left_out: it is about no ' +
      'domain of the records.',
  })
  effect: Effect;

  @StringField({ description: 'Why the import does not carry it.', example: 'A record has no headers.' })
  reason: string;

  @StringField({ description: 'What to do about it.', example: 'Keep it in haproxy.cfg.' })
  what_to_do: string;

  @ArrayField('string', { description: 'The first domains that it is about.', example: ['shop.example.com'] })
  domains: string[];

  @IntField({ description: 'The number of domains that it is about.', min: 0, example: 1 })
  domain_count: number;
}

export class MissingDomainDto {
  @StringField({ description: 'A host that the configuration names.', example: 'old.example.com' })
  domain: string;

  @StringField({ description: 'The file of the reason.', example: 'haproxy.cfg' })
  file: string;

  @IntField({ description: 'The line of the reason, which not_understood explains.', min: 1, example: 31 })
  line: number;
}

class HaproxySummaryDto {
  @IntField({ description: 'Lines of the configuration, without comments.', min: 0, example: 120 })
  lines: number;

  @IntField({ description: 'Records.', min: 0, example: 12 })
  domains: number;

  @IntField({ description: 'Pools of the records.', min: 0, example: 4 })
  pools: number;

  @IntField({ description: 'Servers of the records.', min: 0, example: 8 })
  servers: number;

  @IntField({
    description: 'Hosts that the configuration names and that have no record.',
    min: 0,
    example: 1,
  })
  missing: number;

  @IntField({ description: 'Entries of not_understood.', min: 0, example: 9 })
  not_understood: number;
}

export class HaproxyRecordsDto {
  @ArrayField(DomainRecordDto, { description: 'Send them to POST /api/v1/import.' })
  records: DomainRecordDto[];

  @ArrayField(HaproxyFindingDto, { description: 'What the records do not carry, in the order of the lines.' })
  not_understood: HaproxyFindingDto[];

  @ArrayField(MissingDomainDto, { description: 'The hosts that have no record.' })
  missing: MissingDomainDto[];

  @ArrayField('string', { description: 'Maps and pattern files that were not given.', example: [] })
  missing_maps: string[];

  @NestedField(HaproxySummaryDto, { description: 'Counts.' })
  summary: HaproxySummaryDto;
}
