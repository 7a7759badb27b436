import { AppError } from '../errors/app-error.js';
import type { AcmeSettings } from '../settings/acme-settings.js';
import { DEFAULT_PATH, findProgram } from './acme-script.js';
import { runGroup } from './process-group.js';

const API = 'https://api.cloudflare.com/client/v4';
const TIMEOUT_MS = 20_000;
const TOKEN_ADVICE =
  'Make a token with the right "Zone / DNS / Edit" for the zone (dash.cloudflare.com/profile/api-tokens), set it as CF_Token and restart the suite.';

interface Answer {
  success?: boolean;
  result?: unknown;
  errors?: { message?: string; code?: number }[];
}

/**
 * Asks Cloudflare for the domain's zone before acme.sh does, because its hook says "invalid domain" whatever is
 * wrong. It asks with acme.sh's own curl and environment, so that proxies, CAs and .curlrc are the same for both.
 * Where Cloudflare cannot be asked nothing is said: then acme.sh finds out.
 *
 * @throws AppError acme_failed
 */
export async function checkCloudflare(
  settings: AcmeSettings,
  domain: string,
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<void> {
  const { CF_Token: token, CF_Key: key, CF_Email: email } = settings.environment;
  const zoneId = settings.environment['CF_Zone_ID'];
  if (token === undefined && (key === undefined || email === undefined))
    throw new AppError(
      'acme_failed',
      `Cloudflare's DNS is to prove that ${domain} is yours, and CF_Token is not set. ${TOKEN_ADVICE} ` +
        'CF_Account_ID or CF_Zone_ID narrows it to one account or zone. For another DNS provider set ACME_DNS.',
    );
  const curl = await findProgram('curl', settings.environment['PATH'] ?? DEFAULT_PATH);
  if (curl === undefined) return;
  const headers =
    token === undefined
      ? [`X-Auth-Email: ${email}`, `X-Auth-Key: ${key}`]
      : [`Authorization: Bearer ${token}`];
  const ask = (path: string) => request(curl, settings, headers, path, { env, signal });
  if (zoneId !== undefined) {
    const answer = await ask(`zones/${encodeURIComponent(zoneId)}`);
    if (answer && !answer.success) throw refused(answer, `the zone ${zoneId} (CF_Zone_ID)`);
    const name = nameOf(answer?.result);
    if (name !== undefined && domain !== name && !domain.endsWith(`.${name}`))
      throw new AppError(
        'acme_failed',
        `CF_Zone_ID is the zone ${name}, and ${domain} is not in it. Unset or change it.`,
      );
    return;
  }
  const account = settings.environment['CF_Account_ID'];
  const labels = domain.split('.');
  for (let first = 0; first < labels.length - 1; first += 1) {
    const zone = labels.slice(first).join('.');
    const filter = account === undefined ? '' : `&account.id=${encodeURIComponent(account)}`;
    const answer = await ask(`zones?name=${zone}${filter}`);
    if (!answer) return;
    if (!answer.success) throw refused(answer, 'the zones');
    if (Array.isArray(answer.result) && answer.result.length > 0) return;
  }
  throw new AppError(
    'acme_failed',
    `Cloudflare accepts the token, but shows it no zone that ${domain} is in. Add the domain to the Cloudflare account` +
      `${account === undefined ? '' : ` ${account} (CF_Account_ID)`}, or give the token the right to its zone ("Zone / DNS / Edit"), and try again.`,
  );
}

function refused(answer: Answer, what: string): AppError {
  const words = (answer.errors ?? [])
    .map(({ message, code }) => `${message ?? 'error'} (${code ?? '-'})`)
    .join('; ');
  return new AppError(
    'acme_failed',
    `Cloudflare refuses the token for ${what}: ${words.slice(0, 300) || 'no reason given'}. ${TOKEN_ADVICE}`,
  );
}

/** Undefined where no answer came that could be Cloudflare's. The header goes through standard input, not arguments. */
async function request(
  curl: string,
  settings: AcmeSettings,
  headers: readonly string[],
  path: string,
  run: { env: Record<string, string>; signal: AbortSignal },
): Promise<Answer | undefined> {
  const bundle = settings.caBundle === undefined ? [] : ['--cacert', settings.caBundle];
  const { exitCode, output } = await runGroup(
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
    const answer: unknown = JSON.parse(output);
    return typeof answer === 'object' && answer !== null && 'success' in answer
      ? (answer as Answer)
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
