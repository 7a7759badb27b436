/** Runs `work` and resolves to its duration in milliseconds. */
export async function timed(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

export function percentile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

export function median(values) {
  return percentile(values, 0.5);
}

function percentiles(values) {
  return [0.5, 0.95, 0.99].map((share) => percentile(values, share));
}

/** The median and percentiles of the samples, with those of the floor samples from the same rounds. */
export function figureOf(samples, floor) {
  const [value, p95, p99] = percentiles(samples);
  if (floor === undefined) return { value, p95, p99 };
  const [floorValue, floor_p95, floor_p99] = percentiles(floor);
  return { value, p95, p99, floor: floorValue, floor_p95, floor_p99 };
}
