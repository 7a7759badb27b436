import { isIP } from 'node:net';
import type { Connect } from '../lib/http-fetch.js';
import { LocalSuite, readToken } from '../settings/local-suite.js';
import { SettingsError } from '../settings/parse.js';
import { loadSettings, type Settings } from '../settings/settings.js';
import { UsageError } from './exit-code.js';

export interface Target {
  url: URL;
  /** Opens each connection to the suite of this machine; undefined for an address that the caller gives. */
  connect: Connect | undefined;
  token: string | undefined;
  /** Why there is no token; undefined if there is one, or if none was expected. */
  tokenProblem: string | undefined;
}

export interface TargetOptions {
  url?: string | undefined;
  tokenFile?: string | undefined;
}

/**
 * The suite that a command calls: `--url`, HAPROXY_SUITE_URL, or the suite of this machine. The token comes from
 * `--token-file`, HAPROXY_SUITE_TOKEN, or the file of the local suite. The token of the local suite is sent only to this
 * machine, and without an address from the caller only to a program of a trusted user (LocalSuite).
 *
 * @throws UsageError, also if a setting of the local suite is invalid
 */
export async function findTarget(options: TargetOptions, env: NodeJS.ProcessEnv): Promise<Target> {
  const given = options.url ?? nonEmpty(env['HAPROXY_SUITE_URL']);
  const name = options.url === undefined ? 'HAPROXY_SUITE_URL' : '--url';
  const settings = given === undefined || isLocal(given) ? settingsOf(env) : undefined;
  const local = given === undefined && settings ? new LocalSuite(settings) : undefined;
  const url = local ? new URL(local.url) : parseUrl(given ?? '', name);
  const address = { url, connect: local && (() => local.connect()) };
  const ownToken = nonEmpty(env['HAPROXY_SUITE_TOKEN']);
  if (options.tokenFile === undefined && ownToken !== undefined) {
    if (!/^[\x21-\x7E]+$/.test(ownToken))
      throw new UsageError(
        'HAPROXY_SUITE_TOKEN is no token: it has a space or another character that is not ASCII.',
      );
    return { ...address, token: ownToken, tokenProblem: undefined };
  }
  const file = options.tokenFile ?? settings?.files.token;
  if (file === undefined)
    return {
      ...address,
      token: undefined,
      tokenProblem: 'Set HAPROXY_SUITE_TOKEN, or name a file with --token-file.',
    };
  try {
    const token = await readToken(file);
    return {
      ...address,
      token,
      tokenProblem: token === undefined ? `The token file ${file} has no token.` : undefined,
    };
  } catch (error) {
    const { code = 'unreadable' } = error as NodeJS.ErrnoException;
    // The name is not shown: someone may give the token itself.
    if (options.tokenFile !== undefined)
      throw new UsageError(`--token-file must name a file, but it cannot be read (${code}).`);
    const tokenProblem =
      code === 'EACCES'
        ? `This user may not read ${file}. Run the command with sudo, or set HAPROXY_SUITE_TOKEN.`
        : `The token file ${file} cannot be read (${code}). Set HAPROXY_HOME as the suite has it, or HAPROXY_SUITE_TOKEN.`;
    return { ...address, token: undefined, tokenProblem };
  }
}

function settingsOf(env: NodeJS.ProcessEnv): Settings {
  try {
    return loadSettings(env);
  } catch (error) {
    throw error instanceof SettingsError ? new UsageError(error.message) : error;
  }
}

function parseUrl(text: string, name: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === '')
    throw new UsageError(`${name} must be the address of a suite, such as http://127.0.0.1:8000.`);
  if (url.username !== '' || url.password !== '')
    throw new UsageError(`${name} must not have a user or a password. Set HAPROXY_SUITE_TOKEN instead.`);
  // Also the address of MCP, which other programs get, names the suite.
  url.pathname = url.pathname.replace(/\/+$/, '').replace(/\/mcp$/, '');
  url.search = '';
  url.hash = '';
  return url;
}

function isLocal(text: string): boolean {
  const host = URL.canParse(text) ? new URL(text).hostname.replace(/^\[|\]$/g, '') : '';
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function nonEmpty(value: string | undefined): string | undefined {
  const text = value?.trim();
  return text === '' ? undefined : text;
}
