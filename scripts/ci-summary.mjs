#!/usr/bin/env node
/**
 * Prints `N passed, N failed` from vitest's JSON report, for .ci/run, and exits with 1 when anything failed or
 * nothing ran. Usage: node scripts/ci-summary.mjs <report.json> <exit code of the run>
 */
import { readFileSync } from 'node:fs';

const [report = '', exitCode = '1'] = process.argv.slice(2);
const { passed, failed } = count();
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

function count() {
  const { numPassedTests = 0, numFailedTests = 0, testResults = [] } = readReport();
  // A file that could not be loaded has failed, but holds no test that could be counted.
  const broken = testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
  ).length;
  const failed = numFailedTests + broken;
  // The build, or an error outside of any test, can fail a run whose tests all passed.
  return { passed: numPassedTests, failed: failed === 0 && exitCode !== '0' ? 1 : failed };
}

function readReport() {
  try {
    return JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return {};
  }
}
