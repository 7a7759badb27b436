import { IntersectionType } from '@nestjs/swagger';
import { ChangeFilterDto } from '../audit/audit.dto.js';
import { DryRunDto, LongPlannedDto, StateChangeDto } from '../contract/dry-run/dry-run.dto.js';
import {
  ArrayField,
  BooleanField,
  DateTimeField,
  EnumField,
  ExistingDomainField,
  IntField,
  JsonObjectField,
  StringField,
} from '../contract/fields/fields.js';
import { PageDto } from '../contract/pages/page.dto.js';

export class RevisionRefDto {
  @IntField({ description: 'Number of the revision.', min: 1, example: 1 })
  revision: number;
}

export class HistoryQueryDto extends ChangeFilterDto {
  @IntField({
    description:
      'Only this revision, with all that it changed (over MCP at most 100 lines). Not with other filters.',
    min: 1,
    example: 1,
    optional: true,
  })
  revision?: number;

  @ExistingDomainField({
    description: 'Only revisions that change this domain, its servers or its options.',
    optional: true,
  })
  domain?: string;
}

export class RevisionDto {
  @IntField({ description: 'Number of the revision.', min: 0, example: 1 })
  revision: number;

  @DateTimeField({ description: 'When the change was made.', example: '2026-01-31T12:00:00.000Z' })
  time: string;

  @StringField({
    description: 'The caller: name of the token, network and address, or suite.',
    example: 'admin',
  })
  actor: string;

  @EnumField(['rest', 'mcp', 'internal'], { description: 'How the change was requested.', example: 'mcp' })
  via: 'rest' | 'mcp' | 'internal';

  @StringField({
    description: 'Id of the request. Missing for a change by the suite itself.',
    optional: true,
  })
  request_id?: string;

  @StringField({
    description: 'Name of the operation, which is the name of its tool.',
    example: 'haproxy_add_domain',
  })
  operation: string;

  @StringField({
    description:
      'Which change of a call that makes several, such as the replacement of a server. Each is a revision.',
    optional: true,
  })
  stage?: string;

  @IntField({ description: 'The revision that this one undid.', min: 1, optional: true })
  undoes?: number;

  @IntField({ description: 'The revision whose state this one restored.', min: 0, optional: true })
  rolls_back_to?: number;

  @IntField({
    description:
      'Lines of the history are missing: the revisions after this one and before this entry are not known, and cannot be ' +
      'undone. Of an entry without diff, what its own revision changed is not known either.',
    min: 0,
    optional: true,
  })
  unknown_since?: number;

  @ArrayField('string', { description: 'The domains that the revision changed, at most 100.' })
  domains: string[];

  @IntField({ description: 'How many more domains it changed.', min: 1, optional: true })
  more_domains?: number;

  @BooleanField({ description: 'A later revision has undone it.' })
  undone: boolean;

  @BooleanField({ description: 'Only an administrator may undo it.', optional: true })
  admin_only?: boolean;

  @ArrayField('string', {
    description:
      'What it changed, in plain text, at most 20 lines; with revision all lines, over MCP at most 100.',
  })
  diff: string[];

  @IntField({ description: 'How many lines of diff are not shown.', min: 1, optional: true })
  more_diff?: number;

  @JsonObjectField({
    description:
      'Only with revision, over MCP only up to 100 values: pools, domains, servers and sites, each as a list of [name, before, after]; a server as [pool, slot, before, after]. null: it did not exist. ' +
      'replaced: pools that have other domains since.',
    optional: true,
  })
  change?: object;
}

export class HistoryDto extends PageDto {
  @ArrayField(RevisionDto, { description: 'Revisions of this page, newest first.' })
  items: RevisionDto[];
}

export class UndoDto extends IntersectionType(RevisionRefDto, DryRunDto) {}

export class RollbackDto extends DryRunDto {
  @IntField({ description: 'The revision whose state is restored.', min: 0, example: 1 })
  revision: number;
}

export class TakenBackDto extends IntersectionType(LongPlannedDto, StateChangeDto) {
  @IntField({
    description: 'The revision that was undone, or whose state was restored.',
    min: 0,
    example: 1,
  })
  target: number;

  @ArrayField('string', { description: 'What changes, in plain text, at most 100 lines.' })
  diff: string[];

  @IntField({ description: 'How many lines of diff are not shown.', min: 1, optional: true })
  more_diff?: number;

  @StringField({ description: 'What is not taken back.', example: 'Certificates are not taken back.' })
  note: string;
}
