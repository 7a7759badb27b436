import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.spec.ts', 'test/**/*.spec.ts'],
    setupFiles: ['./vitest.setup.ts'],
    // Each end-to-end file starts HAProxy processes. More files at once would only be slower.
    maxWorkers: 2,
    // Long enough for a busy machine. Tests of time limits measure the time themselves.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    teardownTimeout: 10_000,
  },
});
