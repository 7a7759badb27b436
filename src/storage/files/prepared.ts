import { messageOf } from '../../errors/app-error.js';
import { UnexpectedContentError } from './in-place.js';

/** Something that is written but does not count yet: once it is durable, `commit` makes it count; `discard` forgets it. */
export interface Prepared {
  /** Settles when the disk has it, or with its error. `commit` and `discard` are called after it. */
  readonly durable: Promise<void>;
  /** After a failure all is as before. */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** Several prepared side by side, as one: all of them or none. They are committed in the order given. */
export async function preparedTogether(parts: readonly Promise<Prepared>[]): Promise<Prepared> {
  const results = await Promise.allSettled(parts);
  const prepared = results.filter((result) => result.status === 'fulfilled').map((result) => result.value);
  const failed = results.find((result) => result.status === 'rejected');
  const all = asOne(prepared);
  if (!failed) return all;
  await all.durable.catch(() => undefined);
  await all.discard();
  throw failed.reason;
}

/**
 * Several that count as soon as they are written, one after the other: where one cannot be, those before it are taken
 * back and none is begun after it.
 *
 * @throws its error; UnexpectedContentError where those before it could not be taken back
 */
export async function preparedInOrder(parts: readonly (() => Prepared)[]): Promise<Prepared> {
  const begun: Prepared[] = [];
  try {
    for (const begin of parts) begun.push(begin());
    return asOne(begun);
  } catch (error) {
    const all = asOne(begun);
    await all.durable.catch(() => undefined);
    await all.discard().catch((failure: unknown) => {
      throw new UnexpectedContentError(`half a change could not be taken back: ${messageOf(failure)}`);
    });
    throw error;
  }
}

/** As one: they are committed in the order given, and after a failure the rest is discarded. */
function asOne(prepared: readonly Prepared[]): Prepared {
  return {
    durable: allDurable(prepared),
    commit: async () => {
      for (const [index, part] of prepared.entries())
        try {
          await part.commit();
        } catch (error) {
          await Promise.all(prepared.slice(index + 1).map((rest) => rest.discard()));
          throw error;
        }
    },
    discard: async () => {
      await Promise.all(prepared.map((part) => part.discard()));
    },
  };
}

/** Settles when all have, with the first error if there is one; nobody has to listen to it. */
export function allDurable(parts: readonly { durable: Promise<void> }[]): Promise<void> {
  const all = Promise.allSettled(parts.map((part) => part.durable)).then((settled) => {
    const broken = settled.find((one) => one.status === 'rejected');
    if (broken) throw broken.reason;
  });
  all.catch(() => undefined);
  return all;
}

/** Commits what is to count whatever else happens. @throws the error of the file system; then all is as before */
export async function putInPlace(prepared: Prepared): Promise<void> {
  try {
    await prepared.durable;
  } catch (error) {
    await prepared.discard();
    throw error;
  }
  await prepared.commit();
}
