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
    for (const service of started.toReversed()) await service.stop();
  }
}
