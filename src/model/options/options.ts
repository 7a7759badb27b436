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

export { findPoolOptionsProblem, type PoolOptions } from './pool-options.js';

/**
 * What a host has that differs from the default (SPEC section 9), its labels, and when it expires. Immutable;
 * valid by `findSiteProblem`.
 */
export type SiteOptions = Readonly<Record<string, unknown>>;

/** Ten years, in seconds. */
const MAX_HSTS_AGE = 315_360_000;

const networksRule = listRule(networkRule);
const tokenRule = textRule(
  /^[!#$%&'*+.^_`|~A-Za-z0-9-]{1,64}$/,
  'a name of 1 to 64 characters without spaces',
);

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

/** The first problem in the options of a host; undefined if they are valid. `path` is where they are. */
export function findSiteProblem(value: unknown, path: JsonProblem['path'] = []): JsonProblem | undefined {
  return SITE_OPTIONS(value, path);
}
