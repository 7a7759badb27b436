import { messageOf } from '../../errors/app-error.js';

/** A file does not have the content that a write in place needs. Write the whole file instead. */
export class UnexpectedContentError extends Error {}

/** A write that can still be undone. When it is durable, `commit` makes it final and `discard` undoes it. */
export interface StagedWrite {
  /** Settles when the data is on disk, or with the error of the disk. Wait for it before `commit` or `discard`. */
  readonly durable: Promise<void>;
  /** If it fails, the files are as before the write. */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/**
 * Combines writes that are staged concurrently: either all take effect, or none. `commit` and `discard` go in the given
 * order, so a kill during a discard leaves the later parts and not the earlier ones.
 *
 * @throws the error of the first write that could not be staged, after the others are discarded
 */
export async function stageAll(parts: readonly Promise<StagedWrite>[]): Promise<StagedWrite> {
  const results = await Promise.allSettled(parts);
  const staged = results.filter((result) => result.status === 'fulfilled').map((result) => result.value);
  const failed = results.find((result) => result.status === 'rejected');
  const combined = combine(staged);
  if (!failed) return combined;
  await combined.durable.catch(() => undefined);
  await combined.discard();
  throw failed.reason;
}

/**
 * Stages writes one after the other, for writes that readers see at once. If a write cannot be staged, the earlier writes
 * are discarded and the later writes are not started. `discard` goes in the opposite order: what counts is staged last and
 * removed first.
 *
 * @throws the error of that write; UnexpectedContentError if an earlier write could not be discarded
 */
export async function stageInOrder(parts: readonly (() => StagedWrite)[]): Promise<StagedWrite> {
  const staged: StagedWrite[] = [];
  try {
    for (const stage of parts) staged.push(stage());
    return combine(staged, staged.toReversed());
  } catch (error) {
    const combined = combine(staged, staged.toReversed());
    await combined.durable.catch(() => undefined);
    await combined.discard().catch((failure: unknown) => {
      throw new UnexpectedContentError(`a part of a change could not be undone: ${messageOf(failure)}`);
    });
    throw error;
  }
}

/** Waits until a write is durable and commits it. @throws the error of the file system, after the write is discarded */
export async function commitWhenDurable(staged: StagedWrite): Promise<void> {
  try {
    await staged.durable;
  } catch (error) {
    await staged.discard();
    throw error;
  }
  await staged.commit();
}

/** Settles when all parts have settled, with the first error if there is one. A rejection without a handler is ignored. */
export function allDurable(parts: readonly { durable: Promise<void> }[]): Promise<void> {
  const all = Promise.allSettled(parts.map((part) => part.durable)).then((results) => {
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  });
  all.catch(() => undefined);
  return all;
}

function combine(parts: readonly StagedWrite[], discardOrder = parts): StagedWrite {
  return {
    durable: allDurable(parts),
    commit: async () => {
      for (const [index, part] of parts.entries())
        try {
          await part.commit();
        } catch (error) {
          const rest = new Set(parts.slice(index + 1));
          await discardAll(discardOrder.filter((one) => rest.has(one)));
          throw error;
        }
    },
    discard: () => discardAll(discardOrder),
  };
}

/** One after the other; a part that fails does not keep the others. @throws the error of the first part that fails */
async function discardAll(parts: readonly StagedWrite[]): Promise<void> {
  const failures: unknown[] = [];
  for (const part of parts) await part.discard().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}
