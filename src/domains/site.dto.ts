import { IntersectionType } from '@nestjs/swagger';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { OpenObjectField } from '../contract/fields/fields.js';
import type { Schema } from '../contract/openapi/notes.js';
import type { SiteOptions } from '../model/options/options.js';
import { DEFAULT_REDIRECT_CODE, RATE_WINDOWS, REDIRECT_CODES } from '../model/sites/site-options.js';

const HTTPS = ['none', 'redirect'] as const;
/** Ten years. */
const MAX_HSTS_AGE = 315_360_000;

const networks = (description: string): object => ({ type: 'array', items: { type: 'string' }, description });

const REDIRECT: Required<Pick<Schema, 'properties' | 'required'>> = {
  properties: {
    to: schema({
      type: 'string',
      description: 'Where to: a URL without query. The path and query of the request are added.',
    }),
    code: schema({
      type: 'integer',
      enum: [...REDIRECT_CODES],
      default: DEFAULT_REDIRECT_CODE,
      description: 'The status.',
    }),
  },
  required: ['to'],
};
const MAINTENANCE: Pick<Schema, 'properties'> = {
  properties: {
    page: schema({
      type: 'string',
      maxLength: 8192,
      description: 'The HTML page, at most 8 KB. Default: a short text.',
    }),
    except: schema(networks('Networks whose clients get the site.')),
  },
};

/** The options of a site as a schema of the OpenAPI document, for operations that have them in one field. */
const SITE: Pick<Schema, 'properties'> = {
  properties: {
    https: schema({
      type: 'string',
      enum: [...HTTPS],
      description: 'redirect: plain http gets 308 to https.',
    }),
    hsts_max_age: schema({
      type: 'integer',
      minimum: 0,
      maximum: MAX_HSTS_AGE,
      description: 'Seconds of Strict-Transport-Security.',
    }),
    redirect: schema({ type: 'object', ...REDIRECT, description: 'Redirects every request.' }),
    maintenance: schema({ type: 'object', ...MAINTENANCE, description: 'Answers 503 with a page.' }),
    allow: schema(networks('Only these networks.')),
    deny: schema(networks('Not these networks; they win over allow.')),
    rate_limit: schema({
      type: 'object',
      properties: {
        requests: schema({ type: 'integer', minimum: 1, maximum: 1_000_000, description: 'How many.' }),
        window_seconds: schema({ type: 'integer', enum: [...RATE_WINDOWS], description: 'In which time.' }),
      },
      required: ['requests', 'window_seconds'],
      description: 'More requests of a client get 429.',
    }),
    noindex: schema({ type: 'boolean', description: 'Asks search engines not to list the site.' }),
  },
};

/** `Schema` has only the keywords that the suite reads. */
function schema(keywords: object): Schema {
  return keywords;
}

/** All options of a site. */
export function SiteField(options: { description: string; optional?: boolean }): PropertyDecorator {
  return OpenObjectField(SITE, { example: { https: 'redirect' }, optional: true, ...options });
}

export class SetSiteDto extends IntersectionType(DomainRefDto, DryRunDto) {
  @SiteField({
    description:
      '{https: redirect, hsts_max_age, redirect: {to, code}, maintenance: {page, except}, allow: [CIDR], deny, rate_limit: {requests, window_seconds}, noindex}',
    optional: false,
  })
  site: SiteOptions;
}
