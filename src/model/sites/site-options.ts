import type { SiteOptions } from '../options/options.js';

export const REDIRECT_CODES = [301, 302, 307, 308] as const;
export type RedirectCode = (typeof REDIRECT_CODES)[number];
/** Browsers do not remember it, so a redirect that was set by mistake can be taken back. */
export const DEFAULT_REDIRECT_CODE: RedirectCode = 302;

export interface RedirectOption {
  to: string;
  code?: RedirectCode;
}

export interface MaintenanceOption {
  page?: string;
  except?: readonly string[];
}

/** HAProxy counts in one table for each of these windows, because a table has one. */
export const RATE_WINDOWS = [1, 10, 60, 3600] as const;

export interface RateLimitOption {
  requests: number;
  /** One of `RATE_WINDOWS`. */
  window_seconds: number;
}

/** The options of a site that the rules of suite.cfg know. */
export interface KnownSiteOptions {
  https?: 'none' | 'redirect' | 'auto';
  hsts_max_age?: number;
  redirect?: RedirectOption;
  maintenance?: MaintenanceOption;
  allow?: readonly string[];
  deny?: readonly string[];
  noindex?: boolean;
  rate_limit?: RateLimitOption;
}

/** An exact name under a wildcard has these options of the wildcard, unless it has its own. */
export const INHERITED_OPTIONS = ['deny', 'allow', 'maintenance', 'rate_limit'] as const;
export type InheritedOption = (typeof INHERITED_OPTIONS)[number];
/** Inherited options whose details are in a map, under the key of the site that they are of. */
export type OwnedOption = Exclude<InheritedOption, 'rate_limit'>;

/** The fields of a site that are no options: a caller gives them by themselves. */
export const MARKS = ['labels', 'expires_at'] as const;

export function isMark(key: string): boolean {
  return MARKS.some((mark) => mark === key);
}

/** The options with their types. A site is checked by `findSiteProblem` wherever it comes from. */
export function knownOptions(site: SiteOptions | undefined): KnownSiteOptions {
  return site ?? {};
}

/** The options of a site without its labels and its expiry; undefined without any. */
export function optionsOf(site: SiteOptions | undefined): SiteOptions | undefined {
  if (!site) return undefined;
  const options = Object.entries(site).filter(([key]) => !isMark(key));
  return options.length === 0 ? undefined : Object.fromEntries(options);
}
