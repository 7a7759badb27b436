import { unexpectedOutput } from './parse-error.js';

export interface HaproxyVersion {
  major: number;
  minor: number;
  /** As HAProxy prints it: `3.2.26-1`. */
  text: string;
}

/** The oldest HAProxy with all features that the suite needs (dynamic servers with health checks, `wait`). */
export const MINIMUM_VERSION = { major: 3, minor: 0 } as const;

/** Parses `3.0.11-1+deb13u4` (`show version`) or `HAProxy version 3.0.11-1+deb13u4 2026/10/15 - …` (`haproxy -v`). */
export function parseVersion(text: string): HaproxyVersion {
  const match = /^(?:HAProxy version )?(?<text>(?<major>\d+)\.(?<minor>\d+)\S*)/i.exec(text.trim());
  if (!match?.groups) throw unexpectedOutput('a HAProxy version', text);
  return {
    major: Number(match.groups['major']),
    minor: Number(match.groups['minor']),
    text: match.groups['text'] ?? '',
  };
}

export function isAtLeast(version: HaproxyVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}
