import { AppError } from '../../errors/app-error.js';
import type { AcmeSettings } from '../../settings/acme-settings.js';
import { hasDnsCredentials } from './challenge.js';
import { DEFAULT_PATH, findProgram } from './acme-script.js';
import { runProcessGroup } from './process-group.js';

const API = 'https://api.cloudflare.com/client/v4';
const TIMEOUT_MS = 20_000;
const TOKEN_ADVICE =
  'Create a token with the permission "Zone / DNS / Edit" for the zone (dash.cloudflare.com/profile/api-tokens), set CF_Token to it and restart the suite.';

/** A response of the Cloudflare API. */
interface CloudflareResponse {
  success?: boolean;
  result?: unknown;
  errors?: { message?: string; code?: number }[];
}

/** The credentials are good, and the domain is in none of the zones that they may change. */
export class NoZoneError extends AppError {
  constructor(detail: string) {
    super('acme_failed', detail);
  }
}

/** @throws AppError acme_failed if the settings have no credentials */
export function requireCloudflareCredentials(settings: AcmeSettings, domain: string): void {
  if (!hasDnsCredentials(settings))
    throw new AppError(
      'acme_failed',
      `The suite cannot prove control of ${domain} with Cloudflare DNS, because CF_Token is not set. ${TOKEN_ADVICE} ` +
        'CF_Account_ID or CF_Zone_ID limits the search to one account or zone. For another DNS provider, set ACME_DNS. A ' +
        'certificate without a wildcard needs no token with the challenge http-01.',
    );
}

/**
 * Checks that the Cloudflare credentials may read the zone of the domain. acme.sh's hook reports every problem as "invalid
 * domain", so this check runs before it. It uses curl with the environment of acme.sh, so that both use the same
 * proxy, CA certificates and .curlrc. If curl is missing or Cloudflare does not respond, the check passes, and acme.sh
 * reports the problem. Returns whether Cloudflare responded.
 *
 * @throws AppError acme_failed
 */
export async function checkCloudflare(
  settings: AcmeSettings,
  domain: string,
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<boolean> {
  const { CF_Token: token, CF_Key: key, CF_Email: email } = settings.environment;
  const zoneId = settings.environment['CF_Zone_ID'];
  requireCloudflareCredentials(settings, domain);
  const curl = await findProgram('curl', settings.environment['PATH'] ?? DEFAULT_PATH);
  if (curl === undefined) return false;
  const headers =
    token === undefined
      ? [`X-Auth-Email: ${email}`, `X-Auth-Key: ${key}`]
      : [`Authorization: Bearer ${token}`];
  const get = (path: string) => request(curl, settings, headers, path, { env, signal });
  if (zoneId !== undefined) {
    const response = await get(`zones/${encodeURIComponent(zoneId)}`);
    if (response && !response.success) throw rejected(response, `the zone ${zoneId} (CF_Zone_ID)`);
    const name = nameOf(response?.result);
    if (name !== undefined && domain !== name && !domain.endsWith(`.${name}`))
      throw new NoZoneError(
        `CF_Zone_ID is the zone ${name}, and ${domain} is not in this zone. Change or unset CF_Zone_ID, then restart ` +
          'the suite.',
      );
    return response !== undefined;
  }
  const account = settings.environment['CF_Account_ID'];
  const labels = domain.split('.');
  for (let first = 0; first < labels.length - 1; first += 1) {
    const zone = labels.slice(first).join('.');
    const filter = account === undefined ? '' : `&account.id=${encodeURIComponent(account)}`;
    const response = await get(`zones?name=${zone}${filter}`);
    if (!response) return false;
    if (!response.success) throw rejected(response, 'the list of zones');
    if (Array.isArray(response.result) && response.result.length > 0) return true;
  }
  throw new NoZoneError(
    `Cloudflare accepts the credentials, but shows them no zone that contains ${domain}. Add the domain to the ` +
      `Cloudflare account${account === undefined ? '' : ` ${account} (CF_Account_ID)`}, or give the token the ` +
      'permission "Zone / DNS / Edit" for its zone, then try again.',
  );
}

function rejected(response: CloudflareResponse, what: string): AppError {
  const reasons = (response.errors ?? [])
    .map(({ message, code }) => `${message ?? 'error'} (${code ?? '-'})`)
    .join('; ');
  return new AppError(
    'acme_failed',
    `Cloudflare rejected the credentials for ${what}: ${reasons.slice(0, 300) || 'no reason given'}. ${TOKEN_ADVICE}`,
  );
}

/**
 * Undefined if curl fails or the response is not from Cloudflare. Passes the headers on standard input, because every
 * user can read arguments.
 */
async function request(
  curl: string,
  settings: AcmeSettings,
  headers: readonly string[],
  path: string,
  run: { env: Record<string, string>; signal: AbortSignal },
): Promise<CloudflareResponse | undefined> {
  const bundle = settings.caBundle === undefined ? [] : ['--cacert', settings.caBundle];
  const { exitCode, output } = await runProcessGroup(
    curl,
    ['--silent', '--max-time', '15', ...bundle, '--config', '-', `${API}/${path}`],
    {
      ...run,
      cwd: '/',
      timeoutMs: TIMEOUT_MS,
      input: `${headers.map((header) => `header = "${header.replaceAll(/["\\]/g, '\\$&')}"`).join('\n')}\n`,
    },
  );
  if (exitCode !== 0) return undefined;
  try {
    const response: unknown = JSON.parse(output);
    return typeof response === 'object' && response !== null && 'success' in response
      ? (response as CloudflareResponse)
      : undefined;
  } catch {
    return undefined;
  }
}

function nameOf(result: unknown): string | undefined {
  const name: unknown =
    typeof result === 'object' && result !== null ? Reflect.get(result, 'name') : undefined;
  return typeof name === 'string' ? name : undefined;
}
