/** error: visitors or changes suffer now, or at the next start. warning: a risk. note: worth knowing. */
export const SEVERITIES = ['error', 'warning', 'note'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** The groups of the output, in this order. Each has a section of this name in docs/doctor.md. */
export const SUBJECTS = [
  'settings',
  'suite',
  'haproxy',
  'sockets',
  'configuration',
  'permissions',
  'ports',
  'certificates',
  'acme',
  'dns',
  'network',
  'services',
  'machine',
  'leftovers',
] as const;
export type Subject = (typeof SUBJECTS)[number];

/** Something that is wrong on this host. */
export interface Finding {
  severity: Severity;
  /** One sentence. It never contains a secret. */
  problem: string;
  /** The command that mends it on this host, to paste into a shell. A line that begins with `#` says what no command can do. */
  fix: string;
}

/** What a check says if it does not run to its end. */
export class NotRun extends Error {
  constructor(
    /** A sentence: why the check did not run. */
    readonly reason: string,
    /** Whether it runs if root starts the doctor. */
    readonly needsRoot = false,
  ) {
    super(reason);
    this.name = 'NotRun';
  }
}

/** `findings`: what is wrong. `notRun`: why a part of the check did not run. */
export interface PartialResult {
  findings: readonly Finding[];
  notRun: NotRun;
}

/** Undefined if there is nothing to check on this host. */
export type CheckResult = readonly Finding[] | PartialResult | undefined;

/** One check: reads facts of the host and applies rules to them. It changes nothing. */
export interface Check<H> {
  subject: Subject;
  /** What is checked, as a noun: `Runtime API`. */
  name: string;
  /** @throws NotRun */
  run(host: H): Promise<CheckResult>;
}

export function error(problem: string, fix: string): Finding {
  return { severity: 'error', problem, fix };
}

export function warning(problem: string, fix: string): Finding {
  return { severity: 'warning', problem, fix };
}

export function note(problem: string, fix: string): Finding {
  return { severity: 'note', problem, fix };
}
