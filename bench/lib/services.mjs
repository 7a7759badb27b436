/** Runs `work(keep)`, then stops the services that were started through `keep`, in reverse order. */
export async function withServices(work) {
  const started = [];
  const keep = async (starting) => {
    const service = await starting;
    started.push(service);
    return service;
  };
  try {
    return await work(keep);
  } finally {
    // A failed stop must not leave other services running, and must not hide an error of `work`.
    for (const service of started.toReversed()) {
      try {
        await service.stop();
      } catch (error) {
        console.error(error);
      }
    }
  }
}
