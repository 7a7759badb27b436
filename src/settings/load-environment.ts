import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { config, parse } from 'dotenv';

/**
 * Adds the variables of the files `.env` to the environment. A variable that is set stays as it is. With `ofService`,
 * also those of the files that the installed service reads (deploy/systemd), so that a command in any folder has the
 * settings of the service.
 */
export function loadEnvironment(env: NodeJS.ProcessEnv, { ofService }: { ofService: boolean }): void {
  const here = resolve('.env');
  const home = env['HAPROXY_HOME'] ?? valuesOf(here)['HAPROXY_HOME'] ?? '/opt/haproxy';
  const service = [join(home, 'conf/suite.env'), join(home, '.env')];
  const path = !ofService ? [here] : service.includes(here) ? service : [here, ...service];
  config({ path, processEnv: env, quiet: true });
}

function valuesOf(file: string): Record<string, string> {
  try {
    return parse(readFileSync(file));
  } catch {
    return {};
  }
}
