import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** Files that measure the memory of their process, which other files of the worker would change. */
const MEMORY = ['test/edge/sessions.spec.ts'];

export default defineConfig({
  test: {
    setupFiles: ['./vitest.setup.ts'],
    // Three files more than cores, because an end-to-end file waits most of its time: for health checks, for limits and for the
    // start of processes and machines. At most 8: test/kit/free-port.ts divides the ports between 8 workers.
    maxWorkers: Math.min(availableParallelism() + 3, 8),
    // For tables of requests that the suite delays on purpose.
    maxConcurrency: 40,
    // Long enough for a busy machine. Tests of time limits measure the time themselves.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    teardownTimeout: 10_000,
    projects: [
      // The files of a worker share its modules. To load NestJS and vitest again for each file takes a second of CPU time.
      { extends: true, test: { name: 'unit', include: ['src/**/*.spec.ts'], isolate: false } },
      {
        extends: true,
        test: { name: 'end-to-end', include: ['test/**/*.spec.ts'], exclude: MEMORY, isolate: false },
      },
      { extends: true, test: { name: 'memory', include: MEMORY, isolate: true } },
    ],
  },
});
