/** Something that is safely on disk but does not count yet: `commit` makes it count, `discard` forgets it. */
export interface Prepared {
  /** After a failure all is as before. */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** Several prepared side by side, as one: all of them or none. They are committed in the order given. */
export async function preparedTogether(parts: readonly Promise<Prepared>[]): Promise<Prepared> {
  const results = await Promise.allSettled(parts);
  const prepared = results.filter((result) => result.status === 'fulfilled').map((result) => result.value);
  const discard = async (): Promise<void> => {
    await Promise.all(prepared.map((part) => part.discard()));
  };
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) {
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
  return { commit, discard };
}
