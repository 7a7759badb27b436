import { type AuditEntry, entryOf } from '../storage/audit-log.js';
import { Draft, type State } from '../model/state.js';
import type { PendingEdit } from './writer-queue.js';

/** What changes that are written together come to. */
export interface EditGroup {
  draft: Draft;
  /** The revision that the last of them makes. */
  revision: number;
  /** A line for each that changes something. */
  entries: readonly AuditEntry[];
  /** Tells each caller, once it is durable and live. */
  settle(): void;
}

/** Runs changes one on top of the other. One that refuses leaves the others alone; nothing is committed here. */
export function groupOf(changes: readonly PendingEdit[], state: State): EditGroup {
  const draft = new Draft(state);
  const entries: AuditEntry[] = [];
  const settle: (() => void)[] = [];
  let { revision } = state;
  for (const pending of changes) {
    const own = new Draft(draft);
    try {
      const value = pending.change(own);
      if (!own.isEmpty) {
        const { caller } = pending;
        const operation = caller.audited?.operation ?? 'internal';
        entries.push(entryOf(caller, operation, revision, revision + 1, 'ok'));
        settle.push(() => void (caller.audited && (caller.audited.saved = true)));
        revision += 1;
      }
      draft.merge(own);
      const committed = { value, revision };
      settle.push(() => pending.resolve(committed));
    } catch (error) {
      settle.push(() => pending.reject(error));
    }
  }
  const settleAll = () => {
    for (const done of settle) done();
  };
  return { draft, revision, entries, settle: settleAll };
}
