import { Injectable, Logger } from '@nestjs/common';
import { SingleFlight } from '../../../lib/single-flight.js';
import { Settings } from '../../../settings/settings.js';
import { type ConfigurationCheck, SuiteRules } from '../suite/suite-rules.service.js';
import { checkStart } from './check-start.js';
import { CannotCheckError } from '../../process/haproxy-binary.js';
import type { ConfigMessage, ConfigMessages } from '../config-messages.js';
import type { Finding } from './finding.js';
import { describeMessage, findRequirements } from './find-requirements.js';

export interface ConfigReport {
  /** Whether HAProxy can start with the files and the suite can work with that HAProxy. */
  valid: boolean;
  errors: ConfigMessage[];
  /** The errors that the suite found; HAProxy would accept them. */
  refused: ConfigMessage[];
  /** All warnings, the notes included. */
  warnings: ConfigMessage[];
  /** The warnings of the suite: lines that do not do what they say. */
  notes: ConfigMessage[];
}

/** HAProxy repeats this error for each pool of pools.cfg. One requirement names the section once. */
const NO_POOL_DEFAULTS = /defaults section.*'pools'/;

/** Checks the configuration: HAProxy checks the syntax, the suite checks what it relies on. */
@Injectable()
export class ConfigCheckService {
  readonly #logger = new Logger('Config');
  /** Concurrent callers share one check, because each check starts a process that reads every certificate. */
  readonly #check = new SingleFlight(() => this.#run());

  constructor(
    private readonly settings: Settings,
    private readonly rules: SuiteRules,
  ) {}

  /** Changes nothing. @throws AppError haproxy_unavailable if HAProxy cannot check; CannotCheckError if only a reload can */
  check(): Promise<ConfigReport> {
    return this.#check.run();
  }

  async #run(): Promise<ConfigReport> {
    let cannotCheck: CannotCheckError | undefined;
    const [check, findings, start] = await Promise.all([
      this.rules.check().catch((error: unknown) => {
        if (!(error instanceof CannotCheckError)) throw error;
        cannotCheck = error;
        return { valid: true, errors: [], warnings: [] };
      }),
      findRequirements(this.settings),
      checkStart(this.settings),
    ]);
    const report = configReport(check, findings, start);
    // Only what the suite itself refuses is known.
    if (cannotCheck && report.refused.length === 0) throw cannotCheck;
    return report;
  }

  /** Logs what the suite relies on and haproxy.cfg lacks, one line each. */
  async warn(): Promise<void> {
    for (const finding of await findRequirements(this.settings)) this.#logger.warn(describeMessage(finding));
  }
}

/** Combines what HAProxy says about the files with what the suite finds in them. Pure. */
export function configReport(
  { errors, warnings, valid }: ConfigurationCheck,
  findings: readonly Finding[],
  start: ConfigMessages,
): ConfigReport {
  const refused = [...findings.filter(({ level }) => level !== 'warning').map(asMessage), ...start.errors];
  const other = errors.filter(({ message }) => refused.length === 0 || !NO_POOL_DEFAULTS.test(message));
  const notes = [...findings.filter(({ level }) => level === 'warning').map(asMessage), ...start.warnings];
  return {
    valid: valid && refused.length === 0,
    errors: [...refused, ...other],
    refused,
    warnings: [...notes, ...warnings],
    notes,
  };
}

function asMessage({ file, line, message }: Finding): ConfigMessage {
  return { file, line, message };
}
