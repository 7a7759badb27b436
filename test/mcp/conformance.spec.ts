import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Running, startFixture } from '../edge/fixture.js';
import { ConformanceModule } from './fixture/conformance.module.js';
import { checksThat, runConformance } from './run-conformance.js';

const BASELINE = join(import.meta.dirname, 'conformance-2026-07-28.yaml');
const MINUTES = 600_000;

/** The suites send no headers of their own, so the suite under test trusts loopback. */
let running: Running;
beforeAll(async () => {
  running = await startFixture({ modules: [ConformanceModule] }, { TRUSTED_NETWORKS: '127.0.0.0/8' });
});
afterAll(() => running.stop());

describe('the official conformance suite', () => {
  it(
    'passes 2025-11-25 whole, with the release of its day',
    async () => {
      const given = ['--url', `${running.url}/mcp`, '--suite', 'all', '--spec-version', '2025-11-25'];
      const report = await runConformance('conformance-2025', given);
      expect(checksThat('FAILURE', report), report.output).toEqual([]);
      expect(report.scenarios.size).toBeGreaterThanOrEqual(30);
      expect(report.exitCode).toBe(0);
    },
    MINUTES,
  );

  it(
    'passes 2025-11-25 with the requirement set too',
    async () => {
      const given = ['--url', `${running.url}/mcp`, '--requirements', '2025-11-25'];
      const report = await runConformance('@modelcontextprotocol/conformance', given);
      expect(checksThat('FAILURE', report), report.output).toEqual([]);
      expect(report.exitCode, report.output).toBe(0);
    },
    MINUTES,
  );

  it(
    'passes the requirement set of 2026-07-28 but for what the baseline names',
    async () => {
      const given = ['--url', `${running.url}/mcp`, '--requirements', '2026-07-28'];
      const report = await runConformance('@modelcontextprotocol/conformance', [
        ...given,
        '--expected-failures',
        BASELINE,
      ]);
      // The command itself says 0 for any failure outside the required scenarios; here the baseline has to name all.
      const baseline = await readFile(BASELINE, 'utf8');
      const named = [...baseline.matchAll(/^ {2}- (\S+)$/gm)].map(([, scenario]) => scenario);
      const failed = checksThat('FAILURE', report).map((line) => line.split(': ', 1)[0]);
      expect(new Set(failed), report.output).toEqual(new Set(named));
      expect(report.exitCode, report.output).toBe(0);
    },
    MINUTES,
  );
});
