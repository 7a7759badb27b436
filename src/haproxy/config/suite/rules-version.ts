/**
 * The number of the rules, for a suite that asks a running HAProxy which rules it has. Raise it when the rules change
 * what the suite may write into a map. 2: the options of sites.
 */
export const RULES_NUMBER = 2;

const VERSION_LINE = /^ {4}set-var proc\.suite_rules str\((?<version>[\w-]+)\)$/m;

/** The version that a suite.cfg carries; undefined if it carries none. */
export function rulesVersion(text: string): string | undefined {
  return VERSION_LINE.exec(text)?.groups?.['version'];
}

/** The number in a version of the rules; 0 without rules. */
export function rulesNumber(version: string | undefined): number {
  return Number(version?.split('-')[0] ?? 0);
}
