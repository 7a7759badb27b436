import type { Mode } from './wanted.js';

/**
 * What an installation brought to a host. It is written before the files, so that a run that was killed leaves nothing
 * that `uninstall` does not know. Every content of a file that the suite has written counts as unchanged.
 */
export interface Manifest {
  version: 1;
  mode: Mode;
  release: string;
  /** The user of the services; missing for root. */
  user?: string;
  /** The release before the last upgrade. It stays on disk for the way back. */
  previous?: string;
  /** False while a run is in progress, or after it was killed. */
  finished: boolean;
  /** Whether haproxy.service of Debian ran before. `uninstall` starts it again. */
  debianHaproxyRan: boolean;
  users: string[];
  folders: string[];
  /** Path → target. */
  links: Record<string, string>;
  /** Path → SHA-256 of each content that the suite wrote there, the newest first. */
  files: Record<string, string[]>;
}

export function renderManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/** @throws Error that names the file, if it is no manifest of this version */
export function parseManifest(text: string, path: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (!isManifest(value))
    throw new Error(
      `${path} is not a record of an installation that this version can read. ` +
        'Use the version of the suite that wrote it, or restore the file from a backup.',
    );
  return value;
}

function isManifest(value: unknown): value is Manifest {
  if (typeof value !== 'object' || value === null) return false;
  const { version, mode, release, users, folders, links, files } = value as Partial<Manifest>;
  const isKnown = version === 1 && typeof release === 'string' && /^[A-Za-z0-9.+-]+$/.test(release);
  const areLists = [users, folders, ...Object.values(files ?? { none: undefined })].every(
    (list) => Array.isArray(list) && list.every((item) => typeof item === 'string'),
  );
  const paths = [...(folders ?? []), ...Object.keys(links ?? {}), ...Object.keys(files ?? {})];
  return (
    isKnown &&
    typeof mode === 'string' &&
    ['systemd', 'quadlet', 'managed'].includes(mode) &&
    areLists &&
    paths.every((path) => path.startsWith('/') && !path.split('/').includes('..'))
  );
}
