import {
  booleanRule,
  integerRule,
  type JsonProblem,
  listRule,
  networkRule,
  objectRule,
  oneOfRule,
  recordRule,
  textRule,
} from './json-rule.js';
import { expiryRule } from './expiry.js';
import { labelsRule } from './labels.js';

/** What a pool has that differs from the default (SPEC section 9). Immutable; valid by `findPoolOptionsProblem`. */
export type PoolOptions = Readonly<Record<string, unknown>>;

/**
 * What a host has that differs from the default (SPEC section 9), its labels, and when it expires. Immutable;
 * valid by `findSiteProblem`.
 */
export type SiteOptions = Readonly<Record<string, unknown>>;

/** The longest duration, in seconds: a year for a timeout, ten years for HSTS. */
const MAX_TIMEOUT = 31_536_000;
const MAX_HSTS_AGE = 315_360_000;

const line = (most: number, what: string) =>
  textRule(new RegExp(`^[^\\p{Cc}\\p{Cs}]{1,${most}}$`, 'u'), what);
const seconds = integerRule(1, MAX_TIMEOUT);
const networksRule = listRule(networkRule);
const hostRule = line(253, 'a host name of 1 to 253 characters');
const tokenRule = textRule(
  /^[!#$%&'*+.^_`|~A-Za-z0-9-]{1,64}$/,
  'a name of 1 to 64 characters without spaces',
);

const POOL_OPTIONS = objectRule({
  balance: textRule(
    /^(?:roundrobin|leastconn|random|source|uri|hash [^\p{Cc}\p{Cs}]{1,200}|hdr\([A-Za-z0-9-]{1,64}\)|url_param [A-Za-z0-9_.-]{1,64})$/u,
    'a balance algorithm such as roundrobin, leastconn or random',
  ),
  check: objectRule(
    {
      type: oneOfRule('tcp', 'http'),
      method: oneOfRule('GET', 'HEAD', 'OPTIONS', 'POST'),
      path: textRule(/^\/[!-~]{0,2000}$/, 'a path that begins with /'),
      host: hostRule,
      status: integerRule(100, 599),
      interval: seconds,
      rise: integerRule(1, 100),
      fall: integerRule(1, 100),
    },
    ['type'],
  ),
  sticky: tokenRule,
  protocol: oneOfRule('http', 'h2c', 'https', 'h2'),
  verify: booleanRule,
  send_proxy: oneOfRule('v1', 'v2'),
  max_connections: integerRule(1, 1_000_000),
  timeouts: objectRule({ connect: seconds, server: seconds, queue: seconds, tunnel: seconds }),
  retries: integerRule(0, 100),
});

const SITE_OPTIONS = objectRule({
  https: oneOfRule('none', 'redirect', 'auto'),
  hsts_max_age: integerRule(0, MAX_HSTS_AGE),
  redirect: objectRule(
    { to: textRule(/^https?:\/\/[!-~]{1,2000}$/, 'a URL'), code: oneOfRule(301, 302, 307, 308) },
    ['to'],
  ),
  maintenance: objectRule({
    page: textRule(/^[^\0]{0,16384}$/u, 'a page of at most 16384 characters'),
    except: networksRule,
  }),
  allow: networksRule,
  deny: networksRule,
  basic_auth: objectRule(
    {
      users: recordRule(
        /^[^\p{Cc}\p{Cs}:]{1,128}$/u,
        objectRule(
          {
            hmac: textRule(/^[0-9a-f]{64}$/, 'an HMAC-SHA256 in hexadecimal'),
            key_id: tokenRule,
          },
          ['hmac', 'key_id'],
        ),
      ),
      insecure: booleanRule,
    },
    ['users'],
  ),
  rate_limit: objectRule({ requests: integerRule(1, 1_000_000), window_seconds: integerRule(1, 86_400) }, [
    'requests',
    'window_seconds',
  ]),
  noindex: booleanRule,
  labels: labelsRule,
  expires_at: expiryRule,
});

/** The first problem in the options of a pool; undefined if they are valid. `path` is where they are. */
export function findPoolOptionsProblem(
  value: unknown,
  path: JsonProblem['path'] = [],
): JsonProblem | undefined {
  return POOL_OPTIONS(value, path);
}

/** The first problem in the options of a host; undefined if they are valid. `path` is where they are. */
export function findSiteProblem(value: unknown, path: JsonProblem['path'] = []): JsonProblem | undefined {
  return SITE_OPTIONS(value, path);
}
