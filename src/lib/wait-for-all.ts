/**
 * Waits until all promises have settled, also after one has failed. When the caller handles the failure, none of them
 * is still running (unlike `Promise.all`).
 *
 * @throws the reason of the first rejected promise, in the order of the arguments
 */
export async function waitForAll(...promises: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(promises)).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}
