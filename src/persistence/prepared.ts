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
  const durable = allDurable(prepared);
  const discard = async (): Promise<void> => {
    await Promise.all(prepared.map((part) => part.discard()));
  };
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) {
    await durable.catch(() => undefined);
    await discard();
    throw failed.reason;
  }
  const commit = async (): Promise<void> => {
    for (const [index, part] of prepared.entries())
      try {
        await part.commit();
      } catch (error) {
        await Promise.all(prepared.slice(index + 1).map((rest) => rest.discard()));
        throw error;
      }
  };
  return { durable, commit, discard };
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
