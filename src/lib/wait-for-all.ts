/**
 * Runs them side by side, and waits for all even where one fails, so that nothing is under way any more when the
 * failure is dealt with.
 *
 * @throws what the first of them, in their order, failed with
 */
export async function waitForAll(...parts: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(parts)).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}
