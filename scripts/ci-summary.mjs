#!/usr/bin/env node
/**
 * Prints `N passed, N failed` from the JSON report of vitest, for .ci/run. Exits with 1 if a test failed or no test ran.
 * Usage: node scripts/ci-summary.mjs <report.json> <exit code of the run>
 */
import { readFileSync } from 'node:fs';

const [report = '', exitCode = '1'] = process.argv.slice(2);
const { passed, failed } = count();
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

function count() {
  const { numPassedTests = 0, numFailedTests = 0, testResults = [] } = readReport();
  // A test file that does not load has failed, but the report has no failed test for it.
  const broken = testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
  ).length;
  const failed = numFailedTests + broken;
  // A run can fail although all tests passed: the build failed, or an error happened outside a test.
  return { passed: numPassedTests, failed: failed === 0 && exitCode !== '0' ? 1 : failed };
}

function readReport() {
  try {
    return JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return {};
  }
}
