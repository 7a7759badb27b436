import { loadSettings, type Settings } from '../../settings/settings.js';
import type { Environment } from '../../settings/parse.js';

/** The variables that a shell needs for the suite of this host. */
export interface ShellVariables {
  /** For `haproxy-suite serve`. Never a secret. */
  serve: Readonly<Record<string, string>>;
  /** For a command that calls the suite. */
  client: Readonly<Record<string, string>>;
  /** The names of the secrets of the suite, which no command shows. */
  secrets: readonly string[];
}

const SECRET = /(?:TOKEN|KEY|SECRET|PASSWORD|PASSWD)/i;
/** Names of public keys and of paths that match SECRET. */
const NO_SECRET = /^(?:MCP_TOKEN_FILE|TOKENS_FILE|ACME_KEYLENGTH)$/;

export function isSecret(name: string): boolean {
  return SECRET.test(name) && !NO_SECRET.test(name);
}

/** What a command uses to find the suite and its token. */
const CLIENT = new Set(['HAPROXY_HOME', 'MCP_HOST', 'MCP_PORT', 'MCP_TOKEN_FILE']);

/** haproxy.cfg decides what counts without them. */
const RUNTIME = new Set(['HAPROXY_SOCKET', 'HAPROXY_HOST', 'HAPROXY_PORT']);

/** The variables of an environment that make the settings differ from the defaults. Pure. */
export function shellVariables(env: Environment): ShellVariables {
  const { acme } = loadSettings(env);
  const hasPassword = (name: string) => /:\/\/[^/]*@/.test(env[name] ?? '');
  const hidden = new Set([
    ...acme.hookVariables,
    ...Object.keys(env).filter((name) => isSecret(name) || hasPassword(name)),
  ]);
  const kept: Record<string, string | undefined> = { ...env };
  const wanted = facts(kept);
  for (const name of Object.keys(env)) {
    if (RUNTIME.has(name)) continue;
    const value = kept[name];
    delete kept[name];
    // One at a time: of two variables with the same meaning, one stays.
    if (!isSame(kept, wanted)) kept[name] = value;
  }
  const names = Object.entries(kept).flatMap(([name, value]) => (value ? [[name, value] as const] : []));
  return {
    serve: Object.fromEntries(names.filter(([name]) => !hidden.has(name))),
    client: Object.fromEntries(names.filter(([name]) => CLIENT.has(name))),
    secrets: names.map(([name]) => name).filter((name) => hidden.has(name)),
  };
}

function isSame(env: Environment, wanted: string): boolean {
  try {
    return facts(env) === wanted;
  } catch {
    // Without it, another variable is not allowed.
    return false;
  }
}

/** The settings without what each shell has, and without what only systemd sets. */
function facts(env: Environment): string {
  const { acme, systemd: _, ...settings }: Settings = loadSettings(env);
  const { environment, ...others } = acme;
  const { PATH: _path, HOME: _home, TZ: _zone, ...passed } = environment;
  return JSON.stringify([settings, others, passed]);
}
