import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { AppError } from '../../errors/app-error.js';
import type { AcmeSettings } from '../../settings/acme-settings.js';

/** Used if the environment has no PATH. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The path of acme.sh: ACME_SH if set, else the first one in PATH, in `~/.acme.sh` (its own installer) or in
 * `/usr/share/acme.sh` (Debian).
 *
 * @throws AppError acme_failed
 */
export async function findAcmeScript(settings: AcmeSettings): Promise<string> {
  const { script, environment } = settings;
  const home = environment['HOME'];
  const folders = (environment['PATH'] ?? DEFAULT_PATH).split(delimiter).filter((folder) => folder !== '');
  const candidates =
    script === undefined
      ? [
          ...folders.map((folder) => join(folder, 'acme.sh')),
          ...(home === undefined ? [] : [join(home, '.acme.sh/acme.sh')]),
          '/usr/share/acme.sh/acme.sh',
        ]
      : [script];
  for (const candidate of candidates) if (await isExecutable(candidate)) return candidate;
  const places = script === undefined ? 'in PATH, ~/.acme.sh or /usr/share/acme.sh' : `at ACME_SH=${script}`;
  throw new AppError(
    'acme_failed',
    `The suite gets certificates with acme.sh, and there is no executable acme.sh ${places}. Install it ` +
      '("apt install acme.sh", or see https://github.com/acmesh-official/acme.sh) or set ACME_SH to its path, then ' +
      'restart the suite.',
  );
}

/** The path of the first program of this name in PATH. */
export async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter)) {
    const candidate = join(folder, name);
    if (folder !== '' && (await isExecutable(candidate))) return candidate;
  }
  return undefined;
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
