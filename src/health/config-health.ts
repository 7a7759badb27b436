import type { BigIntStats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../errors/app-error.js';
import type { ConfigCheckService, ConfigReport } from '../haproxy/config/config-check.service.js';
import { describeMessage } from '../haproxy/config/find-requirements.js';
import type { Settings } from '../settings/settings.js';

/** A health request waits this long for a check. A check reads every certificate, so it can take seconds. */
const WAIT_MS = 3_000;
/** The shortest time between two checks while only the files of the suite change. */
const INTERVAL_MS = 10_000;
/** Checks take at most a twentieth of the time. */
const PAUSE_FACTOR = 20;
const SHOWN = 3;

/** The result of one check. */
interface Checked {
  /** Changes when a file of the operator changes. */
  operatorFiles: string;
  /** Changes when a file changes that the suite writes. */
  suiteFiles: string;
  /** From `performance.now()`. */
  at: number;
  durationMs: number;
  problems: string[];
}

/**
 * What the next start or reload of HAProxy would do with the files: the result of the last check, which runs again when
 * a file has changed. After a change of the operator, a health request waits for the check.
 */
export class ConfigHealth {
  #last: Checked | undefined;
  #running: Promise<Checked> | undefined;

  constructor(
    private readonly checks: Pick<ConfigCheckService, 'check'>,
    private readonly settings: Pick<Settings, 'files' | 'folders'>,
  ) {}

  /** Why the next start would fail, or why the suite does not know. Empty if it would work. */
  async problems(): Promise<string[]> {
    const [operatorFiles, suiteFiles] = await Promise.all([this.#operatorFiles(), this.#suiteFiles()]);
    const last = this.#last;
    if (last?.operatorFiles === operatorFiles) {
      const pause = Math.max(INTERVAL_MS, last.durationMs * PAUSE_FACTOR);
      if (last.suiteFiles !== suiteFiles && performance.now() - last.at > pause)
        void this.#check(operatorFiles, suiteFiles);
      return last.problems;
    }
    const checked = await Promise.race([
      this.#fresh(operatorFiles, suiteFiles),
      delay(WAIT_MS, undefined, { ref: false }),
    ]);
    return checked?.problems ?? ['HAProxy still checks the changed files; ask again'];
  }

  /** A check that runs already may have read the files before they changed. */
  async #fresh(operatorFiles: string, suiteFiles: string): Promise<Checked> {
    const checked = await this.#check(operatorFiles, suiteFiles);
    return checked.operatorFiles === operatorFiles ? checked : this.#check(operatorFiles, suiteFiles);
  }

  #check(operatorFiles: string, suiteFiles: string): Promise<Checked> {
    this.#running ??= this.#run(operatorFiles, suiteFiles).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(operatorFiles: string, suiteFiles: string): Promise<Checked> {
    const started = performance.now();
    const problems = await this.checks
      .check()
      .then(problemsOf, (error: unknown) => [
        `the suite cannot check whether HAProxy would start: ${messageOf(error)}`,
      ]);
    const at = performance.now();
    this.#last = { operatorFiles, suiteFiles, at, durationMs: at - started, problems };
    return this.#last;
  }

  async #operatorFiles(): Promise<string> {
    const { certs } = this.settings.folders;
    const names = await readdir(certs).catch(() => []);
    const { config, beforeRules, beforeGlobal } = this.settings.files;
    const paths = [config, beforeRules, beforeGlobal, ...names.map((name) => join(certs, name))];
    return (await Promise.all(paths.map(stampOf))).join('\n');
  }

  async #suiteFiles(): Promise<string> {
    const { suite, pools, map } = this.settings.files;
    return (await Promise.all([suite, pools, map].map(stampOf))).join('\n');
  }
}

function problemsOf({ valid, errors }: ConfigReport): string[] {
  if (valid) return [];
  const shown = errors.slice(0, SHOWN).map(describeMessage).join('; ');
  const more = errors.length > SHOWN ? `; and ${errors.length - SHOWN} more` : '';
  return [`the next start or reload of HAProxy would fail: ${shown}${more}`];
}

/** Changes when the file is written, replaced or removed, also behind a symbolic link. */
async function stampOf(path: string): Promise<string> {
  const facts = await Promise.all([lstat(path, { bigint: true }), stat(path, { bigint: true })].map(quiet));
  return [
    path,
    ...facts.map((one) => (one ? `${one.ino} ${one.size} ${one.mtimeNs} ${one.ctimeNs}` : '-')),
  ].join(' ');
}

function quiet(facts: Promise<BigIntStats>): Promise<BigIntStats | undefined> {
  return facts.catch(() => undefined);
}
