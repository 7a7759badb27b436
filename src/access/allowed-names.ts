import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { AppError } from '../errors/app-error.js';
import { contains, networks } from '../model/addresses/ip-address.js';
import type { Settings } from '../settings/settings.js';

export const LOOPBACK = networks(['127.0.0.0/8', '::1/128']);
const FORWARDING = ['x-forwarded-for', 'forwarded', 'via'];
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

interface Authority {
  host: string;
  port: string;
}

/**
 * Checks the Host and Origin headers of requests. A web page can make a browser on this machine or in a trusted network
 * send requests to the suite (DNS rebinding), but it cannot choose these two headers.
 */
export class AllowedNames {
  readonly #hosts: ReadonlySet<string>;
  readonly #publicHost: string | undefined;
  readonly #origins: ReadonlySet<string>;

  constructor(settings: Pick<Settings, 'api' | 'allowedHosts' | 'allowedOrigins' | 'publicHost'>) {
    const named = (settings.allowedHosts ?? []).map(
      (name) => parseAuthority(name)?.host ?? name.toLowerCase(),
    );
    const own = [settings.api.host, settings.publicHost ?? 'localhost'].map((name) => normalizeHost(name));
    this.#publicHost = settings.publicHost;
    this.#hosts = new Set(['localhost', ...own, ...named]);
    this.#origins = new Set(settings.allowedOrigins.map((origin) => normalizeOrigin(origin) ?? origin));
  }

  /** @throws AppError origin_not_allowed */
  check(request: IncomingMessage): void {
    const host = this.#hostOf(request);
    if (host === undefined || !this.#isAllowed(host.host, request.socket.localAddress))
      throw refused(
        'The Host header is not a name or address of this service. Use an address of this machine, or add the name to ALLOWED_HOSTS.',
      );
    const { origin } = request.headers;
    if (origin === undefined) return;
    const normal = normalizeOrigin(origin);
    if (normal === undefined || !(this.#origins.has(normal) || isSameOrigin(normal, host)))
      throw refused(
        'The Origin header is not allowed: pages of other sites may not call this service. Add the origin to ALLOWED_ORIGINS.',
      );
  }

  /**
   * Whether a proxy on this machine forwarded the request. Such a request has the public host name, or it has a
   * forwarding header and both ends of its connection have the same address. A forwarded request needs a token, so a
   * client gains nothing by forging the header.
   */
  isForwarded(request: IncomingMessage): boolean {
    if (this.#publicHost !== undefined && this.#hostOf(request)?.host === this.#publicHost) return true;
    const { remoteAddress, localAddress } = request.socket;
    return remoteAddress === localAddress && FORWARDING.some((name) => request.headers[name] !== undefined);
  }

  /** The origin of the request if ALLOWED_ORIGINS lists it, in the form that browsers send. */
  crossOrigin({ headers: { origin } }: IncomingMessage): string | undefined {
    const normal = origin === undefined ? undefined : normalizeOrigin(origin);
    return normal !== undefined && this.#origins.has(normal) ? normal : undefined;
  }

  #hostOf(request: IncomingMessage): Authority | undefined {
    const given = headerCount(request, 'host') === 1 ? request.headers.host : undefined;
    return given === undefined ? undefined : parseAuthority(given);
  }

  #isAllowed(host: string, localAddress: string | undefined): boolean {
    if (this.#hosts.has(host)) return true;
    if (isIP(host) === 0) return false;
    return contains(LOOPBACK, host) || host === plainAddress(localAddress ?? '') || ownAddresses().has(host);
  }
}

/** How many times a request has a header. For some headers, `request.headers` keeps only the first one. */
export function headerCount(request: IncomingMessage, name: string): number {
  return request.rawHeaders.filter((value, index) => index % 2 === 0 && value.toLowerCase() === name).length;
}

/** Converts `::ffff:10.0.0.1` to `10.0.0.1`, and removes the zone of `fe80::1%eth0`. */
export function plainAddress(address: string): string {
  const [plain = ''] = address.toLowerCase().split('%');
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain)?.[1] ?? plain;
}

function parseAuthority(text: string): Authority | undefined {
  const match = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[a-z0-9._-]+))(?::(?<port>\d{1,5}))?$/i.exec(text);
  const name = match?.groups?.['v6'] ?? match?.groups?.['name'];
  if (name === undefined) return undefined;
  return { host: normalizeHost(name), port: match?.groups?.['port'] ?? '' };
}

function normalizeHost(name: string): string {
  return plainAddress(name.toLowerCase().replace(/\.$/, ''));
}

/** An origin in the form that browsers send; undefined for `null` and for invalid text. */
function normalizeOrigin(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url && url.origin !== 'null' && /^https?:\/\/[^/?#@]+\/?$/i.test(text) ? url.origin : undefined;
}

/** Whether a page of this service sent the request, such as Swagger UI. HAProxy may terminate its TLS. */
function isSameOrigin(origin: string, host: Authority): boolean {
  const url = new URL(origin);
  const implied = DEFAULT_PORTS[url.protocol] ?? '';
  return (
    normalizeHost(url.hostname.replace(/^\[|\]$/g, '')) === host.host &&
    (url.port || implied) === (host.port || implied)
  );
}

let cache: { at: number; addresses: ReadonlySet<string> } | undefined;

/** The addresses of this machine, read again after ten seconds. */
function ownAddresses(): ReadonlySet<string> {
  const now = Date.now();
  if (!cache || now - cache.at > 10_000) {
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    cache = { at: now, addresses: new Set(addresses.map(({ address }) => plainAddress(address))) };
  }
  return cache.addresses;
}

function refused(detail: string): AppError {
  return new AppError('origin_not_allowed', detail);
}
