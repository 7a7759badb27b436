import { Injectable } from '@nestjs/common';
import { AppError } from '../errors/app-error.js';
import { Operation } from '../contract/operation.js';
import { PageQueryDto } from '../contract/pages/page.dto.js';
import { AuditLog } from '../storage/audit-log.js';
import { AuditListDto } from './audit.dto.js';

/** Who changed what, for those who ask. */
@Injectable()
export class AuditService {
  constructor(private readonly log: AuditLog) {}

  @Operation({
    name: 'haproxy_audit',
    title: 'Read the audit log',
    description:
      'Lists the changes that were asked for, newest first: when, by whom, with which arguments (secrets left out), ' +
      'the revision before and after, and what became of each. Refused and failed ones are there too; dry runs and ' +
      'what only reads are not.',
    output: AuditListDto,
    readOnly: true,
    idempotent: true,
    mcp: false,
  })
  async list({ limit, cursor }: PageQueryDto): Promise<AuditListDto> {
    const before = cursor === undefined ? undefined : seqOf(cursor);
    const { lines, total } = await this.log.page(limit, before);
    const last = lines.at(-1);
    // Lines are numbered without gaps, so the page is the last one if the oldest line is on it.
    const more = last !== undefined && lines.length === limit && (await this.#hasOlder(last.seq));
    return { items: lines, next_cursor: more ? String(last.seq) : null, total };
  }

  async #hasOlder(seq: number): Promise<boolean> {
    return (await this.log.page(1, seq)).lines.length > 0;
  }
}

function seqOf(cursor: string): number {
  if (/^[1-9]\d{0,14}$/.test(cursor)) return Number(cursor);
  const message = 'cursor must be the next_cursor of an earlier answer, as it was';
  throw new AppError('validation_failed', message, { errors: [{ field: 'cursor', message }] });
}
