import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../../../errors/app-error.js';
import { asStorageError } from '../../../errors/storage-error.js';
import { writeFileAtomic } from '../../../lib/atomic-file.js';
import { Settings } from '../../../settings/settings.js';
import { type ConfigMessage, parseConfigMessages } from '../config-messages.js';
import { parseConfig } from '../config-parser.js';
import { readTextIfPresent } from '../operator-config.js';
import { rulesWarnings } from './rules-warnings.js';
import { rulesVersion } from './rules-version.js';
import {
  createMissingSiteMaps,
  type RenderedSuiteCfg,
  renderSuiteFile,
  toOperatorLines,
} from './suite-file.js';
import { HaproxyRuntimeService } from '../../haproxy-runtime.service.js';
import { CannotCheckError } from '../../process/haproxy-binary.js';
import { HaproxyControlService } from '../../process/haproxy-control.service.js';

/** A check of all configuration files. */
export interface ConfigurationCheck {
  valid: boolean;
  errors: ConfigMessage[];
  warnings: ConfigMessage[];
}

/** What health says about suite.cfg. */
export interface RulesReport {
  file: string;
  status: 'ok' | 'missing' | 'differs';
  /** Why HAProxy does not have the rules that belong to the settings. */
  problems: string[];
  /** What the operator must edit so that the frontends use the rules. */
  edits: string[];
}

/**
 * Owns suite.cfg, the rules of the suite in HAProxy's configuration. A new suite.cfg replaces the old one only if
 * HAProxy accepts it together with the operator's files.
 */
@Injectable()
export class SuiteRules {
  readonly #logger = new Logger('SuiteRules');
  /** Why suite.cfg was not replaced; undefined if it is up to date. */
  #problem: string | undefined;
  /** True if HAProxy could not be asked to check the new suite.cfg. */
  #unchecked = false;
  #checks = 0;

  constructor(
    private readonly settings: Settings,
    private readonly control: HaproxyControlService,
    private readonly runtime: HaproxyRuntimeService,
  ) {}

  /** True if `update` must run again, because HAProxy could not be asked to check the new suite.cfg. */
  get isUpdatePending(): boolean {
    return this.#unchecked;
  }

  /** As `update`, but a disk error does not stop the start of the suite: HAProxy continues with the old file. */
  async updateAtStart(): Promise<void> {
    await this.update().catch((error: unknown) =>
      this.#keepOld(`The suite cannot write the new rules: ${messageOf(error)}.`),
    );
  }

  /**
   * Writes suite.cfg if it differs from what the settings and the operator's files ask for, and HAProxy accepts it.
   * Otherwise the old file stays; `report` says why.
   *
   * @throws AppError storage_failed
   */
  async update(): Promise<void> {
    await this.#update().catch((error: unknown) => {
      throw asStorageError(error, this.settings.files.suite);
    });
  }

  async #update(): Promise<void> {
    const { suite } = this.settings.files;
    const wanted = await renderSuiteFile(this.settings);
    const present = await readTextIfPresent(suite);
    this.#unchecked = false;
    if (present === wanted.text) {
      this.#problem = undefined;
      return;
    }
    let cannotCheck = false;
    const check = await this.#checkCandidate(wanted).catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error;
      cannotCheck = error instanceof CannotCheckError;
      this.#unchecked = !cannotCheck;
      return undefined;
    });
    if (check?.valid === false) {
      this.#keepOld(`HAProxy refuses the new rules: ${describe(check.errors)}`);
      return;
    }
    if (!check && present !== '') {
      this.#keepOld(
        cannotCheck
          ? 'There is no HAProxy binary here that could check the new rules. {haproxy_reload} lets the running HAProxy check and load them.'
          : 'HAProxy could not check the new rules. The suite tries again when HAProxy answers.',
      );
      return;
    }
    await this.#write(wanted);
  }

  async #write({ text, version }: RenderedSuiteCfg): Promise<void> {
    const { suite } = this.settings.files;
    await createMissingSiteMaps(this.settings);
    await writeFileAtomic(suite, text);
    this.#problem = undefined;
    this.#logger.log(`${suite} has rules version ${version}`);
  }

  /**
   * Writes suite.cfg for a reload that decides whether HAProxy accepts it, because nothing else can check it. Returns a
   * function that puts the former file back after a refusal.
   *
   * @throws AppError storage_failed; haproxy_rejected if the operator's lines cannot be part of it
   */
  async updateUnchecked(): Promise<() => Promise<void>> {
    const { suite } = this.settings.files;
    try {
      const [wanted, present] = [await renderSuiteFile(this.settings), await readTextIfPresent(suite)];
      if (wanted.errors.length > 0) throw new AppError('haproxy_rejected', describe(wanted.errors));
      if (present === wanted.text) return () => Promise.resolve();
      await this.#write(wanted);
      return async () => {
        if (present !== '') await writeFileAtomic(suite, present);
        this.#keepOld('HAProxy refuses the new rules.');
      };
    } catch (error) {
      throw asStorageError(error, suite);
    }
  }

  /**
   * Checks the configuration with the suite.cfg that the next `update` would write.
   *
   * @throws AppError haproxy_unavailable, storage_failed
   */
  async check(): Promise<ConfigurationCheck> {
    return this.#checkAll().catch((error: unknown) => {
      throw asStorageError(error, this.settings.files.suite);
    });
  }

  async #checkAll(): Promise<ConfigurationCheck> {
    const wanted = await renderSuiteFile(this.settings);
    const present = await readTextIfPresent(this.settings.files.suite);
    const result =
      present === wanted.text ? toCheck(await this.control.check()) : await this.#checkCandidate(wanted);
    const edits = await this.#edits(await this.#loaded());
    return { ...result, warnings: [...result.warnings, ...edits] };
  }

  /** The version of the rules in suite.cfg; undefined without the file. */
  async versionOnDisk(): Promise<string | undefined> {
    return rulesVersion(await readTextIfPresent(this.settings.files.suite));
  }

  async report(): Promise<RulesReport> {
    const { suite } = this.settings.files;
    const wanted = await renderSuiteFile(this.settings);
    const present = await readTextIfPresent(suite);
    const loaded = await this.#loaded();
    const problems: string[] = [];
    if (this.#problem !== undefined) problems.push(this.#problem);
    else if (present !== wanted.text)
      problems.push(
        `${suite} is not as the suite writes it now. {haproxy_reload} checks, writes and loads it.`,
      );
    else if (loaded !== 'unknown' && loaded !== 'none' && loaded !== wanted.version)
      problems.push(`HAProxy has not loaded the present ${suite}. Use {haproxy_reload}.`);
    const edits = (await this.#edits(loaded)).map(
      ({ file, line, message }) => `${file === null ? '' : `${file}:${line ?? ''} `}${message}`,
    );
    const status = present === '' ? 'missing' : present === wanted.text ? 'ok' : 'differs';
    return { file: suite, status, problems, edits };
  }

  async #checkCandidate(wanted: RenderedSuiteCfg): Promise<ConfigurationCheck> {
    if (wanted.errors.length > 0) return { valid: false, errors: wanted.errors, warnings: [] };
    const { suite } = this.settings.files;
    const candidate = `${suite}.check${(this.#checks += 1)}`;
    try {
      await createMissingSiteMaps(this.settings);
      await writeFileAtomic(candidate, wanted.text);
      const { valid, errors, warnings } = toCheck(await this.control.checkWith({ suite: candidate }));
      const place = (messages: ConfigMessage[]) => toOperatorLines(messages, candidate, wanted.text, suite);
      return { valid, errors: place(errors), warnings: place(warnings) };
    } finally {
      await rm(candidate, { force: true });
    }
  }

  #keepOld(problem: string): void {
    const { suite } = this.settings.files;
    const kept = existsSync(suite) ? `${suite} stays as it was.` : `There is no ${suite} yet.`;
    this.#problem = `${problem} ${kept}`;
    this.#logger.error(this.#problem);
  }

  /** The rules that the running HAProxy has loaded. */
  async #loaded(): Promise<string> {
    return this.runtime.loadedRules().then(
      (version) => version ?? 'none',
      () => 'unknown',
    );
  }

  async #edits(loaded: string): Promise<ConfigMessage[]> {
    const { files, control } = this.settings;
    const text = await readFile(files.config, 'utf8').catch(() => '');
    return rulesWarnings(parseConfig(text, files.config), {
      files,
      control,
      lacksFile: loaded === 'none' && control !== 'managed',
    });
  }
}

/** Reads the messages in the output of a check. Pure. */
export function toCheck({ valid, output }: { valid: boolean; output: string }): ConfigurationCheck {
  const { errors, warnings } = parseConfigMessages(output);
  if (!valid && errors.length === 0) errors.push({ file: null, line: null, message: output.slice(-500) });
  return { valid, errors, warnings };
}

function describe(messages: readonly ConfigMessage[]): string {
  return messages
    .slice(0, 3)
    .map(({ file, line, message }) => `${file ?? ''}:${line ?? ''} ${message}`)
    .join('; ');
}
