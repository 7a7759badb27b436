import { docsPage } from '../lib/docs-page.js';
import { visible, visibleLines } from '../lib/safe-text.js';
import { type Finding, type Severity, SEVERITIES, type Subject, SUBJECTS } from './finding.js';

export interface ReportedFinding extends Finding {
  subject: Subject;
  check: string;
  /** The file and section of the documentation. */
  docs: string;
}

interface ReportedNotRun {
  subject: Subject;
  check: string;
  reason: string;
  needs_root: boolean;
}

export interface Report {
  /** The version of the program that made the report. */
  version: string;
  /** Where the settings are from. */
  settings_from: string;
  /** How many checks ran to their end. */
  checks: number;
  findings: ReportedFinding[];
  not_run: ReportedNotRun[];
}

export function docsOf(subject: Subject): string {
  return `${docsPage('doctor.md')}#${subject}`;
}

/** Whether the host has an error, or with `strict` a warning. */
export function isUnwanted({ findings }: Report, strict: boolean): boolean {
  return findings.some(({ severity }) => severity === 'error' || (strict && severity === 'warning'));
}

/** Findings by subject, the worst first in each. Operations are named as `{haproxy_x}`. */
export function sorted(findings: readonly ReportedFinding[]): ReportedFinding[] {
  return findings.toSorted(
    (a, b) =>
      SUBJECTS.indexOf(a.subject) - SUBJECTS.indexOf(b.subject) ||
      SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity),
  );
}

const COLORS: Record<Severity, string> = { error: '31', warning: '33', note: '36' };
const INDENT = '           ';

/** The report for people. `color` is for a terminal. */
export function renderReport({ checks, findings, not_run }: Report, color: boolean): string {
  const paint = (code: string, text: string) => (color ? `\u001B[${code}m${text}\u001B[0m` : text);
  const lines: string[] = [];
  for (const subject of SUBJECTS) {
    const own = findings.filter((one) => one.subject === subject);
    if (own.length === 0) continue;
    lines.push(paint('1', subject));
    for (const { severity, problem, fix, docs } of own) {
      lines.push(`  ${paint(COLORS[severity], severity.padEnd(8))} ${hang(problem)}`);
      lines.push(`${INDENT}fix:  ${hang(fix, `${INDENT}      `)}`);
      lines.push(`${INDENT}docs: ${docs}`);
    }
    lines.push('');
  }
  if (not_run.length > 0) {
    const rest = not_run.map(
      ({ subject, check, reason, needs_root }) =>
        `  ${subject}: ${check}. ${visible(reason)}${needs_root ? ' Run the doctor as root.' : ''}`,
    );
    lines.push(paint('1', 'not checked'), ...rest, '');
  }
  lines.push(summary(checks, findings, not_run.length));
  return `${lines.join('\n')}\n`;
}

function hang(text: string, indent = INDENT): string {
  // Texts of others, such as the name of a certificate, can hold control characters of a terminal.
  return visibleLines(text).replaceAll('\n', `\n${indent}`);
}

function summary(checks: number, findings: readonly ReportedFinding[], notRun: number): string {
  const open = notRun === 0 ? '' : `; ${notRun} not checked`;
  if (findings.length === 0) return `No problem found (${checks} checks${open})`;
  const count = (severity: Severity, name: string) => {
    const number = findings.filter((one) => one.severity === severity).length;
    return `${number} ${name}${number === 1 ? '' : 's'}`;
  };
  return `${count('error', 'error')}, ${count('warning', 'warning')}, ${count('note', 'note')} (${checks} checks${open})`;
}
