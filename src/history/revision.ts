import type { HistoryEntry } from '../storage/formats/history-entry.js';

/** What undo and rollback need to know of a revision. */
export type Revision = Pick<
  HistoryEntry,
  'revision' | 'operation' | 'change' | 'undoes' | 'rolls_back_to' | 'admin_only' | 'unknown_since'
>;

/** Tells which revisions a later one has taken back, if that one was not taken back itself. */
export class TakenBack {
  /** Revision → the one that undid it. */
  readonly #undone = new Map<number, number>();
  /** The last rollback that counts: everything after its target, up to it, is taken back. */
  #rollback: { target: number; by: number } | undefined;

  /** The revision that took back this one. Call it for each revision, the newest first. */
  by({
    revision,
    undoes,
    rolls_back_to,
  }: Pick<Revision, 'revision' | 'undoes' | 'rolls_back_to'>): number | undefined {
    if (this.#rollback && revision <= this.#rollback.target) this.#rollback = undefined;
    const by = this.#undone.get(revision) ?? this.#rollback?.by;
    if (by !== undefined) return by;
    if (undoes !== undefined) this.#undone.set(undoes, revision);
    if (rolls_back_to !== undefined) this.#rollback = { target: rolls_back_to, by: revision };
    return undefined;
  }
}
