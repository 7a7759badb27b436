import { isIP } from 'node:net';
import { join } from 'node:path';
import { integer, list, oneOf, path, SettingsError, text, trimmed, type Environment } from './parse.js';

const KEY_LENGTHS = ['ec-256', 'ec-384', '2048', '3072', '4096'] as const;
type AcmeKeyLength = (typeof KEY_LENGTHS)[number];

/** Variables that acme.sh, curl and openssl need, for programs, certificates and proxies. */
const MACHINE = ['PATH', 'HOME', 'TZ', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'CURL_CA_BUNDLE'];
const PROXIES = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'];
/** Variables of the Cloudflare hook (`dns_cf`). ACME_ENV names the variables of other hooks. */
const CLOUDFLARE = ['CF_Token', 'CF_Account_ID', 'CF_Zone_ID', 'CF_Key', 'CF_Email'];

export interface AcmeSettings {
  /** Path of acme.sh; undefined to search PATH and ~/.acme.sh. */
  script: string | undefined;
  home: string;
  server: string;
  dns: string;
  email: string | undefined;
  keyLength: AcmeKeyLength;
  /** Seconds to wait for DNS; undefined if acme.sh asks public resolvers until they have the record. */
  dnsSleep: number | undefined;
  caBundle: string | undefined;
  timeoutSeconds: number;
  renewDays: number;
  /** What the check before HTTP-01 uses: a DNS server (undefined: those of this machine), and the port at which the CA asks. */
  http: { resolver: string | undefined; port: number };
  /** External account binding (RFC 8555, section 7.3.4). */
  eab: { kid: string; hmacKey: string } | undefined;
  /** The complete environment of acme.sh. It holds secrets and must not be logged. */
  environment: Readonly<Record<string, string>>;
  /** Names of the variables of the DNS hook. Their values are secrets. */
  hookVariables: readonly string[];
}

/** Settings of section 6 of the specification. Errors do not contain secrets. @throws SettingsError */
export function acmeSettings(env: Environment, home: string): AcmeSettings {
  const hookVariables = [...new Set([...CLOUDFLARE, ...namesToPassOn(env)])].filter(
    (name) => trimmed(env, name) !== undefined,
  );
  const machine = [...MACHINE, ...PROXIES, ...PROXIES.map((name) => name.toUpperCase())];
  return {
    script: optionalPath(env, 'ACME_SH'),
    home: path(env, 'ACME_HOME', join(home, 'acme')),
    server: matching(env, 'ACME_SERVER', 'google', /^(?:[a-z][a-z0-9_.]*|https:\/\/[!-~]+)$/, SERVER_RULE),
    dns: matching(
      env,
      'ACME_DNS',
      'dns_cf',
      /^dns_[a-z0-9_]{1,60}$/,
      'the name of a DNS hook such as dns_cf',
    ),
    email: email(env),
    keyLength: oneOf(env, 'ACME_KEYLENGTH', KEY_LENGTHS, 'ec-256'),
    dnsSleep:
      trimmed(env, 'ACME_DNS_SLEEP') === undefined ? undefined : integer(env, 'ACME_DNS_SLEEP', 0, 0, 3600),
    caBundle: optionalPath(env, 'ACME_CA_BUNDLE'),
    timeoutSeconds: integer(env, 'ACME_TIMEOUT', 300, 1, 3600),
    renewDays: integer(env, 'ACME_RENEW_DAYS', 30, 1, 365),
    http: { resolver: resolver(env), port: integer(env, 'ACME_HTTP_PORT', 80, 1, 65_535) },
    eab: externalAccount(env),
    environment: pick(env, [...machine, ...hookVariables]),
    hookVariables,
  };
}

/** A cron expression of five fields (minute hour day month weekday), or six with seconds first. */
export function renewCron(env: Environment): string | undefined {
  const value = trimmed(env, 'CERT_RENEW_CRON');
  if (value === undefined) return undefined;
  if (!/^[0-9A-Za-z*/,-]+(?: +[0-9A-Za-z*/,-]+){4,5}$/.test(value))
    throw new SettingsError('CERT_RENEW_CRON', value, 'a cron expression such as "17 4 * * *"');
  return value;
}

const SERVER_RULE =
  'a CA that acme.sh knows, such as google or letsencrypt, or the https URL of its directory';

function namesToPassOn(env: Environment): readonly string[] {
  const names = list(env, 'ACME_ENV', '').flatMap((item) => item.split(/\s+/));
  for (const name of names)
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(name))
      throw new SettingsError('ACME_ENV', name, 'names of variables, separated by commas');
  return names;
}

function externalAccount(env: Environment): AcmeSettings['eab'] {
  const kid = trimmed(env, 'ACME_EAB_KID');
  const hmacKey = trimmed(env, 'ACME_EAB_HMAC_KEY');
  if (kid === undefined && hmacKey === undefined) return undefined;
  if (kid === undefined || hmacKey === undefined)
    throw new SettingsError(
      kid === undefined ? 'ACME_EAB_KID' : 'ACME_EAB_HMAC_KEY',
      '',
      'set, because ACME_EAB_KID and ACME_EAB_HMAC_KEY are used together',
    );
  if (!/^[!-~]+$/.test(kid)) throw new SettingsError('ACME_EAB_KID', kid, 'one word');
  if (!/^[A-Za-z0-9+/_=-]+$/.test(hmacKey))
    throw new SettingsError('ACME_EAB_HMAC_KEY', '(hidden)', 'base64url text, as the CA gave it');
  return { kid, hmacKey };
}

function email(env: Environment): string | undefined {
  const value = trimmed(env, 'ACME_EMAIL');
  if (value !== undefined && !/^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+$/.test(value))
    throw new SettingsError('ACME_EMAIL', value, 'an e-mail address');
  return value;
}

/** An address with an optional port, as `dns.setServers` takes it. */
function resolver(env: Environment): string | undefined {
  const value = trimmed(env, 'ACME_RESOLVER');
  if (value === undefined) return undefined;
  const { v6, v4, port } =
    /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[0-9.]+))(?::(?<port>\d{1,5}))?$/.exec(value)?.groups ?? {};
  const host = v6 ?? v4 ?? value;
  if (isIP(host) === 0 || Number(port ?? 53) < 1 || Number(port ?? 53) > 65_535)
    throw new SettingsError(
      'ACME_RESOLVER',
      value,
      'the address of a DNS server, such as 9.9.9.9 or [2620:fe::fe]:53',
    );
  return value;
}

function matching(env: Environment, name: string, fallback: string, shape: RegExp, rule: string): string {
  const value = text(env, name, fallback);
  if (!shape.test(value)) throw new SettingsError(name, value, rule);
  return value;
}

function optionalPath(env: Environment, name: string): string | undefined {
  return trimmed(env, name) === undefined ? undefined : path(env, name, '');
}

function pick(env: Environment, names: readonly string[]): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = env[name];
    if (value !== undefined && value !== '') picked[name] = value;
  }
  return picked;
}
