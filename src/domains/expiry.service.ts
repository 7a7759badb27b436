import { Injectable, Logger } from '@nestjs/common';
import {
  type AuditedCall,
  type CallContext,
  callContext,
  recordDomains,
  runWithCallContext,
} from '../contract/call-context.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { SteadyClock } from '../lib/steady-clock.js';
import { expiryOf } from '../model/options/expiry.js';
import type { Draft } from '../model/draft.js';
import type { State } from '../model/state.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { ReconcilerService } from '../reconciler/reconciler.service.js';

/** The actor and the operation in the audit log. */
const ACTOR = 'expiry';
const OPERATION = 'haproxy_expire_scheduled';

const INTERVAL_MS = 1_000;
/** The pause after a removal that failed. */
const RETRY_MS = 5_000;
/** How many domains are removed one by one if HAProxy refuses to remove them together. */
const ONE_BY_ONE = 100;
/** A due domain is not overdue yet, because its removal may be under way. */
const GRACE_MS = 5_000;
/** How many domains one log line and one health answer name. */
const SHOWN = 20;

/** The domains that should be removed already. */
export interface ExpiryReport {
  /** At most 20. */
  overdue: string[];
  count: number;
  /** Why they are not removed. */
  reason: string | undefined;
}

/** Removes the domains whose `expires_at` has come: all due ones in one commit. */
@Injectable()
export class ExpiryService {
  readonly #logger = new Logger('Expiry');
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  /** The first time at which a domain of this revision of the state expires. */
  #next: { state: State; revision: number; time: number } | undefined;
  #failure: string | undefined;
  readonly #logged = new Set<string>();
  #retryAt = 0;
  #loggedJump: number | undefined;

  constructor(
    private readonly persistence: PersistenceService,
    private readonly reconciler: ReconcilerService,
    private readonly clock: SteadyClock,
  ) {}

  start(): void {
    this.#timer ??= setInterval(() => void this.check(), INTERVAL_MS).unref();
    void this.check();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  /** Removes what is due now. Never throws. */
  check(): Promise<void> {
    this.#running ??= this.#check()
      .catch((error: unknown) => this.#fail([], error))
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  report(): ExpiryReport {
    // While the clock is in doubt nothing is removed. What may be overdue then is named.
    const latest = (this.clock.now() ?? this.clock.latest()) - GRACE_MS;
    const due = this.#nextExpiry() > latest ? [] : this.#due(latest);
    const jump = this.clock.jump();
    return {
      overdue: due.slice(0, SHOWN),
      count: due.length,
      reason: due.length === 0 ? undefined : jump === undefined ? this.#failure : jumpText(jump),
    };
  }

  async #check(): Promise<void> {
    const now = this.clock.now();
    this.#logJump(this.clock.jump());
    if (now === undefined || this.#nextExpiry() > now) return;
    // A commit now would fail. HaproxyWatchService restores HAProxy.
    if (!this.reconciler.inSync) this.#failure = 'HAProxy does not have the saved state, or does not answer.';
    else if (this.clock.monotonic() >= this.#retryAt) await this.#remove(this.#due(now));
  }

  async #remove(due: readonly string[]): Promise<void> {
    try {
      await this.#commit(due);
      this.#failure = undefined;
      this.#logged.clear();
    } catch (error) {
      this.#fail(due, error);
      const isRejected = error instanceof AppError && error.code === 'haproxy_rejected';
      if (due.length > 1 && isRejected) await this.#removeOneByOne(due.slice(0, ONE_BY_ONE));
      this.#retryAt = this.clock.monotonic() + RETRY_MS;
    }
  }

  /** So that only the domains that HAProxy refuses to remove stay. */
  async #removeOneByOne(due: readonly string[]): Promise<void> {
    for (const domain of due)
      await this.#commit([domain]).catch((error: unknown) => this.#fail([domain], error));
  }

  async #commit(due: readonly string[]): Promise<void> {
    const audited: AuditedCall = { operation: OPERATION, arguments: {}, saved: false };
    const context: CallContext = { ...callContext(), actor: ACTOR, via: 'internal', role: 'admin', audited };
    const edit = (draft: Draft): string[] => {
      // A change that ran while this edit waited may have extended the time, and the clock may have jumped.
      const now = this.clock.now() ?? Number.NEGATIVE_INFINITY;
      const still = due.filter((domain) => isDue(expiryOf(draft.site(domain)), now));
      draft.removeDomains(still);
      recordDomains(still);
      return still;
    };
    const { value: removed, revision } = await runWithCallContext(context, () =>
      this.persistence.commit(edit, undefined, { alone: true }),
    );
    if (removed.length > 0)
      this.#logger.log(
        `revision ${revision}: removed ${removed.length} expired domain(s): ${named(removed)}`,
      );
  }

  /** Logs each reason once, until a removal succeeds. */
  #fail(due: readonly string[], error: unknown): void {
    this.#failure = messageOf(error);
    const text = `${due.length} expired domain(s) could not be removed: ${named(due)}. The suite tries again. ${this.#failure}`;
    if (!this.#logged.has(text)) this.#logger.warn(text);
    this.#logged.add(text);
  }

  #due(now: number): string[] {
    return [...this.persistence.state.expiring]
      .filter(([, time]) => isDue(time, now))
      .map(([domain]) => domain);
  }

  #nextExpiry(): number {
    const { state } = this.persistence;
    if (this.#next?.state !== state || this.#next.revision !== state.revision) {
      let time = Number.POSITIVE_INFINITY;
      for (const one of state.expiring.values()) time = Math.min(time, one);
      this.#next = { state, revision: state.revision, time };
    }
    return this.#next.time;
  }

  #logJump(jump: number | undefined): void {
    if (jump !== undefined && jump !== this.#loggedJump) this.#logger.warn(jumpText(jump));
    if (jump === undefined && this.#loggedJump !== undefined)
      this.#logger.log('The clock has held for 5 minutes. Expired domains are removed again.');
    this.#loggedJump = jump;
  }
}

function isDue(time: number | undefined, now: number): boolean {
  return time !== undefined && time <= now;
}

function named(domains: readonly string[]): string {
  const more = domains.length > SHOWN ? ` and ${domains.length - SHOWN} more` : '';
  return `${domains.slice(0, SHOWN).join(', ')}${more}`;
}

function jumpText(jump: number): string {
  const seconds = Math.round(Math.abs(jump) / 1000);
  return `The clock of this machine jumped ${jump > 0 ? 'forward' : 'back'} by ${seconds} s. No domain expires until the clock has held for 5 minutes.`;
}
