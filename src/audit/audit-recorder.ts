import { Injectable, Logger } from '@nestjs/common';
import {
  type CallContext,
  callContext,
  type AuditedCall,
  runWithCallContext,
} from '../contract/call-context.js';
import { AppError } from '../errors/app-error.js';
import { type AuditEntry, AuditLog, entryOf } from '../storage/audit-log.js';
import { PersistenceService } from '../persistence/persistence.service.js';

/** Lines a minute for what read-only callers try: they must not be able to push the history out of a bounded log. */
const FORBIDDEN_A_MINUTE = 60;
const MINUTE_MS = 60_000;

/**
 * Sees to it that every change has a line in the audit log. What is committed through PersistenceService has its line
 * written with the commit; this writes the others: refused, failed, without effect, or not kept in `servers.json`.
 */
@Injectable()
export class AuditRecorder {
  /** Errors that have a line already, on their way from the service to the edge. */
  readonly #known = new WeakSet<object>();
  readonly #logger = new Logger('Audit');
  #forbidden = { since: 0, count: 0 };

  constructor(
    private readonly audit: AuditLog,
    private readonly persistence: PersistenceService,
  ) {}

  /**
   * Runs a change by the caller of now. One that is part of another is told of with that one.
   *
   * @throws what `work` throws; AppError storage_failed before it is begun, while the audit log cannot be written
   */
  async run<T>(operation: string, given: Record<string, unknown>, work: () => Promise<T>): Promise<T> {
    const caller = callContext();
    if (caller.change) return work();
    await this.audit.checkWritable();
    const change: AuditedCall = { operation, arguments: given, saved: false };
    const recorded = { ...caller, change };
    try {
      const result = await runWithCallContext(recorded, work);
      if (!change.saved) await this.#line(recorded, 'ok');
      return result;
    } catch (error) {
      // Changes of one group fail with one and the same error: here each gets its line all the same.
      if (typeof error === 'object' && error !== null) this.#known.add(error);
      await this.#line(recorded, outcomeOf(error));
      throw error;
    }
  }

  /** A line for a change that was refused before it reached its service. */
  async refused(
    operation: string,
    given: Record<string, unknown>,
    { actor, via }: Pick<CallContext, 'actor' | 'via'>,
    error: unknown,
  ): Promise<void> {
    // An unexpected error reaches the edge as the cause of one that says nothing of it.
    const cause = error instanceof Error ? error.cause : undefined;
    if ([error, cause].some((one) => typeof one === 'object' && one !== null && this.#known.has(one))) return;
    const outcome = outcomeOf(error);
    // A dry run has no line when it is refused either; who may not even ask for one has.
    if (given['dry_run'] === true && outcome !== 'forbidden') return;
    if (outcome === 'forbidden' && !this.#hasRoomForForbidden(actor)) return;
    const change: AuditedCall = { operation, arguments: given, saved: false };
    await this.#line({ ...callContext(), actor, via, change }, outcome);
  }

  #hasRoomForForbidden(actor: string): boolean {
    const now = Date.now();
    if (now - this.#forbidden.since > MINUTE_MS) this.#forbidden = { since: now, count: 0 };
    this.#forbidden.count += 1;
    if (this.#forbidden.count === FORBIDDEN_A_MINUTE + 1)
      this.#logger.warn(
        `${actor} keeps trying what it may not; of the rest of this minute the audit log tells nothing.`,
      );
    return this.#forbidden.count <= FORBIDDEN_A_MINUTE;
  }

  #line(caller: CallContext & { change: AuditedCall }, outcome: AuditEntry['outcome']): Promise<void> {
    const { revision } = this.persistence.state;
    return this.audit.append(entryOf(caller, caller.change.operation, revision, revision, outcome));
  }
}

function outcomeOf(error: unknown): AuditEntry['outcome'] {
  return error instanceof AppError ? error.code : 'internal_error';
}
