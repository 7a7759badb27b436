import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { config, parse } from 'dotenv';

/** What a command takes from a file of another user: only where the suite listens. */
const ADDRESS = ['MCP_HOST', 'MCP_PORT'] as const;

/**
 * Adds the variables of `.env` in the current folder to the environment. A variable that is set stays as it is.
 *
 * With `ofService`, for commands that are not the service: also those of the files that the installed service reads
 * (deploy/systemd, deploy/debian), so that a command in any folder has the settings of the service. Root runs commands in
 * folders that others can write, and a setting can name a program. So a file counts only if it belongs to root or to the
 * user who runs the command, and nobody else can write it. Of another file of the service, only the address counts.
 */
export function loadEnvironment(env: NodeJS.ProcessEnv, { ofService }: { ofService: boolean }): void {
  if (!ofService) {
    config({ processEnv: env, quiet: true });
    return;
  }
  const here = resolve('.env');
  add(env, ownValues(here));
  const home = env['HAPROXY_HOME'] ?? '/opt/haproxy';
  for (const file of [join(home, 'conf/suite.env'), '/etc/default/haproxy-suite', join(home, '.env')])
    add(env, ownValues(file) ?? addressOf(file));
}

function add(env: NodeJS.ProcessEnv, values: Record<string, string> | undefined): void {
  for (const [name, value] of Object.entries(values ?? {})) env[name] ??= value;
}

/** Undefined if there is no such file, or if another user can write it. */
function ownValues(file: string): Record<string, string> | undefined {
  const user = process.geteuid?.();
  // Root trusts no group. Others often share files with a group of their own.
  const forbidden = user === 0 ? 0o022 : 0o002;
  try {
    const { uid, mode } = statSync(file);
    return [0, user].includes(uid) && (mode & forbidden) === 0 ? valuesOf(file) : undefined;
  } catch {
    return undefined;
  }
}

function addressOf(file: string): Record<string, string> {
  const values = valuesOf(file);
  return Object.fromEntries(
    ADDRESS.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]]])),
  );
}

function valuesOf(file: string): Record<string, string> {
  try {
    return parse(readFileSync(file));
  } catch {
    return {};
  }
}
