import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Running, startFixture } from '../edge/fixture.js';
import { ConformanceModule } from './fixture/conformance.module.js';
import { checksWithStatus, runConformance } from './run-conformance.js';

const BASELINE = join(import.meta.dirname, 'conformance-2026-07-28.yaml');
const TIMEOUT_MS = 600_000;

/** The conformance suites send no token, so loopback is a trusted network here. */
let running: Running;
beforeAll(async () => {
  running = await startFixture({ modules: [ConformanceModule] }, { TRUSTED_NETWORKS: '127.0.0.0/8' });
});
afterAll(() => running.stop());

describe('MCP server', () => {
  it(
    'passes all scenarios of 2025-11-25 in the conformance suite of that revision',
    async () => {
      const args = ['--url', `${running.url}/mcp`, '--suite', 'all', '--spec-version', '2025-11-25'];
      const report = await runConformance('conformance-2025', args);
      expect(checksWithStatus('FAILURE', report), report.output).toEqual([]);
      expect(report.scenarios.size).toBeGreaterThanOrEqual(30);
      expect(report.exitCode).toBe(0);
    },
    TIMEOUT_MS,
  );

  it(
    'passes the requirement set of 2025-11-25',
    async () => {
      const args = ['--url', `${running.url}/mcp`, '--requirements', '2025-11-25'];
      const report = await runConformance('@modelcontextprotocol/conformance', args);
      expect(checksWithStatus('FAILURE', report), report.output).toEqual([]);
      expect(report.exitCode, report.output).toBe(0);
    },
    TIMEOUT_MS,
  );

  it(
    'passes the requirement set of 2026-07-28 except for the scenarios in the baseline',
    async () => {
      const args = ['--url', `${running.url}/mcp`, '--requirements', '2026-07-28'];
      const report = await runConformance('@modelcontextprotocol/conformance', [
        ...args,
        '--expected-failures',
        BASELINE,
      ]);
      // The command exits with 0 if scenarios outside the required set fail. Here the baseline must name these too.
      const baseline = await readFile(BASELINE, 'utf8');
      const expected = [...baseline.matchAll(/^ {2}- (\S+)$/gm)].map(([, scenario]) => scenario);
      const failed = checksWithStatus('FAILURE', report).map((line) => line.split(': ', 1)[0]);
      expect(new Set(failed), report.output).toEqual(new Set(expected));
      expect(report.exitCode, report.output).toBe(0);
    },
    TIMEOUT_MS,
  );
});
