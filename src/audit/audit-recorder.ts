import { Injectable, Logger } from '@nestjs/common';
import {
  type AuditedCall,
  type CallContext,
  callContext,
  runWithCallContext,
} from '../contract/call-context.js';
import { AppError } from '../errors/app-error.js';
import { type AuditEntry, AuditLog, entryOf } from '../storage/audit-log.js';
import { PersistenceService } from '../persistence/persistence.service.js';

/** Lines for forbidden calls, of all callers. Read-only callers must not push older lines out of a bounded log. */
const FORBIDDEN_PER_MINUTE = 60;
const MINUTE_MS = 60_000;

/**
 * Writes the audit lines that no commit writes: of changes that were refused, failed, had no effect, or are not part of
 * `servers.json`. PersistenceService writes the lines of commits, so that every change has one line.
 */
@Injectable()
export class AuditRecorder {
  /** Errors that already have a line. They pass through the filters after the service. */
  readonly #recorded = new WeakSet<object>();
  readonly #logger = new Logger('Audit');
  #forbidden = { since: 0, count: 0 };

  constructor(
    private readonly audit: AuditLog,
    private readonly persistence: PersistenceService,
  ) {}

  /**
   * Runs a change of the current caller and records its outcome. A change inside another change has no line of its own.
   *
   * @throws AppError storage_failed, before `work` runs, if the audit log cannot be written; the errors of `work`
   */
  async record<T>(operation: string, given: Record<string, unknown>, work: () => Promise<T>): Promise<T> {
    const caller = callContext();
    if (caller.audited) return work();
    await this.audit.checkWritable();
    const audited: AuditedCall = { operation, arguments: given, saved: false };
    const context = { ...caller, audited };
    try {
      const result = await runWithCallContext(context, work);
      if (!audited.saved) await this.#append(context, 'ok');
      return result;
    } catch (error) {
      // Changes that are written together fail with the same error object. Each of them has its own line.
      if (typeof error === 'object' && error !== null) this.#recorded.add(error);
      await this.#append(context, outcomeOf(error));
      throw error;
    }
  }

  /** Records a change that was refused before the service was called. */
  async recordRefusal(
    operation: string,
    given: Record<string, unknown>,
    caller: Pick<CallContext, 'actor' | 'via' | 'requestId' | 'role'>,
    error: unknown,
  ): Promise<void> {
    // An unexpected error may be wrapped in an AppError for the caller. Then `cause` is the recorded error.
    const cause = error instanceof Error ? error.cause : undefined;
    if ([error, cause].some((one) => typeof one === 'object' && one !== null && this.#recorded.has(one)))
      return;
    const outcome = outcomeOf(error);
    // A refused dry run has no line, unless the caller may not use the operation at all.
    if (given['dry_run'] === true && outcome !== 'forbidden') return;
    // A caller that may only read reaches an operation only for a dry run, also if its arguments do not show it.
    if (caller.role === 'read' && outcome !== 'forbidden') return;
    if (outcome === 'forbidden' && !this.#countForbidden(caller.actor)) return;
    const audited: AuditedCall = { operation, arguments: given, saved: false };
    await this.#append({ ...callContext(), ...caller, audited }, outcome);
  }

  /** Returns false if the log has no more room for forbidden calls in this minute. */
  #countForbidden(actor: string): boolean {
    const now = Date.now();
    if (now - this.#forbidden.since > MINUTE_MS) this.#forbidden = { since: now, count: 0 };
    this.#forbidden.count += 1;
    if (this.#forbidden.count === FORBIDDEN_PER_MINUTE + 1)
      this.#logger.warn(
        `More than ${FORBIDDEN_PER_MINUTE} forbidden calls within a minute, the last by ${actor}. The audit log omits further ones in this minute.`,
      );
    return this.#forbidden.count <= FORBIDDEN_PER_MINUTE;
  }

  #append(caller: CallContext & { audited: AuditedCall }, outcome: AuditEntry['outcome']): Promise<void> {
    const { revision } = this.persistence.state;
    return this.audit.append(entryOf(caller, caller.audited.operation, revision, revision, outcome));
  }
}

function outcomeOf(error: unknown): AuditEntry['outcome'] {
  return error instanceof AppError ? error.code : 'internal_error';
}
