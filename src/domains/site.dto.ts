import { IntersectionType } from '@nestjs/swagger';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { DomainRefDto } from '../contract/fields/domain-ref.dto.js';
import { ArrayField, BooleanField, EnumField, IntField, OpenObjectField } from '../contract/fields/fields.js';
import type { Schema } from '../contract/openapi/notes.js';
import type { SiteOptions } from '../model/options/options.js';
import {
  DEFAULT_REDIRECT_CODE,
  type MaintenanceOption,
  REDIRECT_CODES,
  type RedirectOption,
} from '../model/sites/site-options.js';

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
    noindex: schema({ type: 'boolean', description: 'Asks search engines not to list the site.' }),
  },
};

/** `Schema` has only the keywords that the suite reads. */
function schema(keywords: object): Schema {
  return keywords;
}

/** The field `site` of a domain: all its options. */
export function SiteField(options: { description: string }): PropertyDecorator {
  return OpenObjectField(SITE, { example: { https: 'redirect' }, optional: true, ...options });
}

export class SetSiteDto extends IntersectionType(DomainRefDto, DryRunDto) {
  @EnumField(HTTPS, { description: 'redirect: http gets 308 to https.', example: 'redirect', optional: true })
  https?: string;

  @IntField({ description: 'HSTS seconds.', min: 0, max: MAX_HSTS_AGE, optional: true, example: 31_536_000 })
  hsts_max_age?: number;

  @OpenObjectField(REDIRECT, {
    description: '{to: URL, code: 301|302|307|308}',
    example: { to: 'https://www.example.com', code: 301 },
    optional: true,
  })
  redirect?: RedirectOption;

  @OpenObjectField(MAINTENANCE, {
    description: '{page: HTML, except: networks}: 503 for others.',
    example: { except: ['192.0.2.0/24'] },
    optional: true,
  })
  maintenance?: MaintenanceOption;

  @ArrayField('string', { description: 'Only these networks.', example: ['192.0.2.0/24'], optional: true })
  allow?: string[];

  @ArrayField('string', { description: 'Not these networks.', example: ['198.51.100.7'], optional: true })
  deny?: string[];

  @BooleanField({ description: 'No search engines.', optional: true })
  noindex?: boolean;
}

/** The options in the arguments of a call. */
export function siteOf(input: SetSiteDto): SiteOptions {
  const { domain: _domain, dry_run: _dryRun, ...options } = input;
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
