/** Runs work with what it starts through `keep`, and stops all of that in the end, the last first. */
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
    // One that cannot be stopped must not keep the others running, nor hide what went wrong before.
    for (const service of started.toReversed()) {
      try {
        await service.stop();
      } catch (error) {
        console.error(error);
      }
    }
  }
}
