import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Gauge, type Registry } from 'prom-client';

/**
 * Adds gauges of the file system that has the state. The suite accepts no change when it is full. A value that cannot be
 * read has no sample.
 */
export function addDiskGauges(register: Registry, stateFile: string): void {
  const gauge = (name: string, help: string, blocks: (found: { bavail: number; blocks: number }) => number) =>
    new Gauge({
      name: `haproxy_suite_${name}`,
      help,
      registers: [register],
      async collect() {
        const found = await statfs(dirname(stateFile)).catch(() => undefined);
        if (found) this.set(blocks(found) * found.bsize);
        else this.remove();
      },
    });
  gauge('disk_free_bytes', 'Free bytes of the file system with the state.', ({ bavail }) => bavail);
  gauge('disk_size_bytes', 'Size of the file system with the state.', ({ blocks }) => blocks);
}
