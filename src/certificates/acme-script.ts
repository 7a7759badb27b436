import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { AppError } from '../errors/app-error.js';
import type { AcmeSettings } from '../settings/acme-settings.js';

/** Used where the environment has no PATH. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Where acme.sh is: ACME_SH, PATH, or where its own installer puts it.
 *
 * @throws AppError acme_failed that says how to install it
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
  const where = script === undefined ? 'not in PATH nor in ~/.acme.sh' : `not at ACME_SH=${script}`;
  throw new AppError(
    'acme_failed',
    `acme.sh, which gets certificates, is ${where}. Install it ("apt install acme.sh", or see ` +
      'https://github.com/acmesh-official/acme.sh), or set ACME_SH to its path, and restart the suite.',
  );
}

/** The first program of this name in PATH. */
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
