import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.spec.ts', 'test/**/*.spec.ts'],
    setupFiles: ['./vitest.setup.ts'],
    // Each end-to-end file starts real HAProxies; more files at once than cores only makes them slow.
    maxWorkers: 2,
    // Patience with a busy machine, not a promise: what is promised in time is measured by its own test.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    teardownTimeout: 10_000,
  },
});
