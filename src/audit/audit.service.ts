import { Injectable } from '@nestjs/common';
import { callContext } from '../contract/call-context.js';
import { Operation } from '../contract/operation.js';
import { invalidCursor } from '../contract/pages/page.js';
import { AuditLog, type AuditLine } from '../storage/audit-log.js';
import { AuditListDto, ListAuditDto } from './audit.dto.js';
import { AuditedOperations } from './audited-operations.js';
import { isLineInScope } from './line-scope.js';

/** Lists the audit log. */
@Injectable()
export class AuditService {
  constructor(
    private readonly log: AuditLog,
    private readonly operations: AuditedOperations,
  ) {}

  @Operation({
    name: 'haproxy_audit',
    scope: 'view',
    title: 'Read the audit log',
    description:
      'Lists the requested changes, newest first: time, caller, arguments without secrets, what they removed, and the ' +
      'outcome. Use domain with limit=1 to see who changed a domain last. Refused and failed changes are included; dry ' +
      'runs are not.',
    output: AuditListDto,
    readOnly: true,
    idempotent: true,
    errors: ['storage_failed'],
  })
  async list({ limit, cursor, ...given }: ListAuditDto): Promise<AuditListDto> {
    const before = cursor === undefined ? undefined : seqOf(cursor);
    const since = given.since === undefined ? undefined : Date.parse(given.since);
    const { scope } = callContext();
    const isVisible = scope?.limitsDomains ? (line: AuditLine) => isLineInScope(line, scope) : undefined;
    const filter = { ...given, operation: this.operations.requireName(given.operation), since, isVisible };
    const isFiltered = Object.values(filter).some((value) => value !== undefined);
    const { lines, more, total } = await this.log.page(limit, before, isFiltered ? filter : undefined);
    return { items: lines, next_cursor: more ? String(lines.at(-1)?.seq) : null, total };
  }
}

function seqOf(cursor: string): number {
  if (/^[1-9]\d{0,14}$/.test(cursor)) return Number(cursor);
  throw invalidCursor();
}
