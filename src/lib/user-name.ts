import { readFileSync } from 'node:fs';

/** The name of a user in /etc/passwd, or the uid if there is none. */
export function userName(uid: number): string {
  try {
    const rows = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'));
    return rows.find(([, , id]) => Number(id) === uid)?.[0] || String(uid);
  } catch {
    return String(uid);
  }
}
