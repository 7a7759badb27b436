import { Injectable } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import { PageQueryDto } from '../contract/pages/page.dto.js';
import { invalidCursor } from '../contract/pages/page.js';
import { AuditLog } from '../storage/audit-log.js';
import { AuditListDto } from './audit.dto.js';

/** Lists the audit log. */
@Injectable()
export class AuditService {
  constructor(private readonly log: AuditLog) {}

  @Operation({
    name: 'haproxy_audit',
    title: 'Read the audit log',
    description:
      'Lists the requested changes, newest first: time, caller, arguments without secrets, the revision before and ' +
      'after, and the outcome. Refused and failed changes are included; dry runs and calls that only read are not.',
    output: AuditListDto,
    readOnly: true,
    idempotent: true,
    mcp: false,
  })
  async list({ limit, cursor }: PageQueryDto): Promise<AuditListDto> {
    const before = cursor === undefined ? undefined : seqOf(cursor);
    const { lines, total } = await this.log.page(limit, before);
    const last = lines.at(-1);
    const more = last !== undefined && lines.length === limit && (await this.#hasOlder(last.seq));
    return { items: lines, next_cursor: more ? String(last.seq) : null, total };
  }

  /** A full page may end with the oldest line. */
  async #hasOlder(seq: number): Promise<boolean> {
    return (await this.log.page(1, seq)).lines.length > 0;
  }
}

function seqOf(cursor: string): number {
  if (/^[1-9]\d{0,14}$/.test(cursor)) return Number(cursor);
  throw invalidCursor();
}
