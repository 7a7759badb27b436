import type { BigIntStats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../errors/app-error.js';
import type { ConfigCheckService, ConfigReport } from '../haproxy/config/check/config-check.service.js';
import { CannotCheckError } from '../haproxy/process/haproxy-binary.js';
import type { ConfigMessage } from '../haproxy/config/config-messages.js';
import { describeMessage } from '../haproxy/config/check/find-requirements.js';
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
  findings: ConfigFindings;
}

/** What a check found, as sentences. */
export interface ConfigFindings {
  /** Why the next start would fail, or why the suite does not know. Empty if it would work. */
  problems: readonly string[];
  /** Lines of haproxy.cfg that do not do what they say. HAProxy works with them. */
  notes: readonly string[];
  /** True if nothing here can check the files, so that only a reload shows whether HAProxy accepts them. */
  isUnknown?: boolean;
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

  async findings(): Promise<ConfigFindings> {
    const [operatorFiles, suiteFiles] = await Promise.all([this.#operatorFiles(), this.#suiteFiles()]);
    const last = this.#last;
    if (last?.operatorFiles === operatorFiles) {
      const pause = Math.max(INTERVAL_MS, last.durationMs * PAUSE_FACTOR);
      if (last.suiteFiles !== suiteFiles && performance.now() - last.at > pause)
        void this.#check(operatorFiles, suiteFiles);
      return last.findings;
    }
    const checked = await Promise.race([
      this.#fresh(operatorFiles, suiteFiles),
      delay(WAIT_MS, undefined, { ref: false }),
    ]);
    return (
      checked?.findings ?? { problems: ['HAProxy still checks the changed files; ask again.'], notes: [] }
    );
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
    let findings: ConfigFindings;
    let isChecked = true;
    try {
      findings = findingsOf(await this.checks.check());
    } catch (error) {
      isChecked = error instanceof CannotCheckError;
      const problem = `The suite cannot check whether HAProxy would start: ${messageOf(error)}`;
      findings = isChecked
        ? { problems: [], notes: [messageOf(error)], isUnknown: true }
        : { problems: [problem], notes: [] };
    }
    const at = performance.now();
    const checked = { operatorFiles, suiteFiles, at, durationMs: at - started, findings };
    // The next health request asks again after a failure.
    this.#last = isChecked ? checked : undefined;
    return checked;
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

/** Pure. */
export function findingsOf({ valid, errors, notes }: ConfigReport): ConfigFindings {
  const problems = valid ? [] : [`The next start or reload of HAProxy would fail: ${shorten(errors)}`];
  return { problems, notes: notes.length === 0 ? [] : [`Warning: ${shorten(notes)}`] };
}

function shorten(messages: readonly ConfigMessage[]): string {
  const shown = messages.slice(0, SHOWN).map(describeMessage).join('; ');
  return messages.length > SHOWN ? `${shown}; and ${messages.length - SHOWN} more` : shown;
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
