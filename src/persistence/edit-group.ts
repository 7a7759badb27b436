import { recordDomains, runWithCallContext } from '../contract/call-context.js';
import type { Role } from '../contract/role.js';
import { formerValues } from '../model/change/former.js';
import { Draft } from '../model/draft.js';
import type { State, StateDelta, StateReader } from '../model/state.js';
import { changeOf } from '../model/change/change.js';
import { type AuditEntry, entryOf } from '../storage/audit-log.js';
import { historyEntryOf, type NewEntry } from '../storage/history-log.js';
import type { PendingEdit } from './writer-queue.js';

/** The result of running a group of edits, to be committed at once. */
export interface EditGroup {
  draft: Draft;
  /** The revision of the last edit. */
  revision: number;
  /** One audit entry for each edit that changes something. */
  entries: readonly AuditEntry[];
  /** What each edit changes, in the same order. */
  history: readonly NewEntry[];
  /** Answers each caller. Call it once the group is durable and live. */
  settle(): void;
}

/** Throws if a change may not be made, whatever edit made it. */
export type CheckChange = (change: StateDelta, before: StateReader, role: Role) => void;

/**
 * Runs each edit on top of the one before. An edit that refuses, or that `check` refuses, does not affect the others.
 * Commits nothing.
 */
export function runEdits(edits: readonly PendingEdit[], state: State, check: CheckChange): EditGroup {
  const draft = new Draft(state);
  const entries: AuditEntry[] = [];
  const history: NewEntry[] = [];
  const answers: (() => void)[] = [];
  let { revision } = state;
  for (const pending of edits) {
    const own = new Draft(draft);
    try {
      // Edits run in the call of whichever caller started the group.
      const value = runWithCallContext(pending.caller, () => pending.edit(own));
      const sharing = domainsThatShare(own, draft);
      // The arguments name one domain of the pool. An import names none, and its line would become long.
      if (sharing.length > 0 && pending.caller.audited?.arguments['domain'] !== undefined)
        runWithCallContext(pending.caller, () => recordDomains(sharing));
      if (!own.isEmpty) {
        const { caller } = pending;
        check(own, draft, caller.role);
        const operation = caller.audited?.operation ?? 'internal';
        entries.push(entryOf(caller, operation, revision, revision + 1, 'ok', formerValues(own)));
        history.push(historyEntryOf(caller, state.revision, revision + 1, changeOf(own, draft), own));
        answers.push(() => void (caller.audited && (caller.audited.saved = true)));
        revision += 1;
      }
      draft.merge(own);
      const committed = { value, revision };
      answers.push(() => pending.resolve(committed));
    } catch (error) {
      answers.push(() => pending.reject(error));
    }
  }
  const settle = () => {
    for (const answer of answers) answer();
  };
  return { draft, revision, entries, history, settle };
}

/** All domains of the pool whose servers the change changes, if the pool has several. Empty for a change of several pools. */
function domainsThatShare(change: StateDelta, before: StateReader): readonly string[] {
  const shared = [...change.pools].flatMap(([name, pool]) => {
    const former = before.pool(name);
    return former && pool && former.domains.length > 1 && pool.servers !== former.servers ? [pool] : [];
  });
  return shared.length === 1 ? (shared[0]?.domains ?? []) : [];
}
