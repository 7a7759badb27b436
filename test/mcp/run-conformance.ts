import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const PRELOAD = join(import.meta.dirname, 'glob-sync.mjs');

interface Check {
  id: string;
  status: string;
  errorMessage?: string;
}

interface ConformanceReport {
  exitCode: number | null;
  output: string;
  /** By the name of the scenario. */
  scenarios: ReadonlyMap<string, readonly Check[]>;
}

/** Runs the command of an official conformance suite against a server that is already running. */
export async function runConformance(
  suite: '@modelcontextprotocol/conformance' | 'conformance-2025',
  args: readonly string[],
): Promise<ConformanceReport> {
  const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
  try {
    const command = join(ROOT, 'node_modules', suite, 'dist/index.js');
    const child = spawn(process.execPath, ['--import', PRELOAD, command, 'server', ...args, '-o', folder], {
      cwd: folder,
      env: { PATH: process.env['PATH'] ?? '', NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    return { exitCode, output, scenarios: await readChecks(folder) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The checks with this status, as one line each, so that a failed assertion shows a readable difference. */
export function checksWithStatus(status: 'FAILURE' | 'WARNING', { scenarios }: ConformanceReport): string[] {
  return [...scenarios].flatMap(([scenario, checks]) =>
    checks
      .filter((check) => check.status === status)
      .map(({ id, errorMessage = '' }) => `${scenario}: ${id}: ${errorMessage}`),
  );
}

async function readChecks(folder: string): Promise<Map<string, Check[]>> {
  const scenarios = new Map<string, Check[]>();
  for (const name of (await readdir(folder)).toSorted()) {
    // Folder names have the form server-SCENARIO-TIMESTAMP.
    const scenario = name.replace(/^server-/, '').replace(/-\d{4}-\d{2}-\d{2}T[\d-]+Z$/, '');
    const text = await readFile(join(folder, name, 'checks.json'), 'utf8');
    scenarios.set(scenario, JSON.parse(text) as Check[]);
  }
  return scenarios;
}
