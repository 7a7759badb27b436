import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { AppError } from '../errors/app-error.js';
import { contains, networks } from '../model/ip-address.js';
import type { Settings } from '../settings/settings.js';

const LOOPBACK = networks(['127.0.0.0/8', '::1/128']);
const FORWARDING = ['x-forwarded-for', 'forwarded', 'via'];
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

interface Authority {
  host: string;
  port: string;
}

/**
 * Which Host and Origin a request may carry. A page on the web can make a browser on this machine or in a trusted
 * network send requests here (DNS rebinding); it cannot choose these two headers.
 */
export class AllowedNames {
  private readonly hosts: ReadonlySet<string>;
  private readonly publicHost: string | undefined;
  private readonly origins: ReadonlySet<string>;

  constructor(settings: Pick<Settings, 'api' | 'allowedHosts' | 'allowedOrigins' | 'publicHost'>) {
    const named = (settings.allowedHosts ?? []).map(
      (name) => parseAuthority(name)?.host ?? name.toLowerCase(),
    );
    const own = [settings.api.host, settings.publicHost ?? 'localhost'].map((name) => bare(name));
    this.publicHost = settings.publicHost;
    this.hosts = new Set(['localhost', ...own, ...named]);
    this.origins = new Set(settings.allowedOrigins.map((origin) => normalOrigin(origin) ?? origin));
  }

  /** @throws AppError origin_not_allowed */
  check(request: IncomingMessage): void {
    const host = this.hostOf(request);
    if (host === undefined || !this.isAllowed(host.host, request.socket.localAddress))
      throw refused(
        'The Host header names this service by a name it does not have. Use an address of this machine, or add the name to ALLOWED_HOSTS.',
      );
    const { origin } = request.headers;
    if (origin === undefined) return;
    const normal = normalOrigin(origin);
    if (normal === undefined || !(this.origins.has(normal) || isSameOrigin(normal, host)))
      throw refused('Pages of this Origin may not call this service. Add the Origin to ALLOWED_ORIGINS.');
  }

  /**
   * Whether a proxy of this machine passed the request on: HAProxy in front, under the public name, or any that says
   * so and connects from the very address it connects to. Only ever a reason to ask for a token.
   */
  isForwarded(request: IncomingMessage): boolean {
    if (this.publicHost !== undefined && this.hostOf(request)?.host === this.publicHost) return true;
    const { remoteAddress, localAddress } = request.socket;
    return remoteAddress === localAddress && FORWARDING.some((name) => request.headers[name] !== undefined);
  }

  /** The foreign origin that a page calls from with our leave, in the form the browser sends it. */
  crossOrigin({ headers: { origin } }: IncomingMessage): string | undefined {
    const normal = origin === undefined ? undefined : normalOrigin(origin);
    return normal !== undefined && this.origins.has(normal) ? normal : undefined;
  }

  private hostOf(request: IncomingMessage): Authority | undefined {
    const given = headerCount(request, 'host') === 1 ? request.headers.host : undefined;
    return given === undefined ? undefined : parseAuthority(given);
  }

  private isAllowed(host: string, localAddress: string | undefined): boolean {
    if (this.hosts.has(host)) return true;
    if (isIP(host) === 0) return false;
    return contains(LOOPBACK, host) || host === plainAddress(localAddress ?? '') || ownAddresses().has(host);
  }
}

/** How often a header was sent; Node itself keeps only the first of some. */
export function headerCount(request: IncomingMessage, name: string): number {
  return request.rawHeaders.filter((value, index) => index % 2 === 0 && value.toLowerCase() === name).length;
}

/** `::ffff:10.0.0.1` → `10.0.0.1`; zones (`fe80::1%eth0`) are dropped. */
export function plainAddress(address: string): string {
  const [plain = ''] = address.toLowerCase().split('%');
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain)?.[1] ?? plain;
}

function parseAuthority(text: string): Authority | undefined {
  const match = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[a-z0-9._-]+))(?::(?<port>\d{1,5}))?$/i.exec(text);
  const name = match?.groups?.['v6'] ?? match?.groups?.['name'];
  if (name === undefined) return undefined;
  return { host: bare(name), port: match?.groups?.['port'] ?? '' };
}

function bare(name: string): string {
  return plainAddress(name.toLowerCase().replace(/\.$/, ''));
}

/** An origin in the form a browser sends it; undefined for `null` and anything that is not one. */
function normalOrigin(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url && url.origin !== 'null' && /^https?:\/\/[^/?#@]+\/?$/i.test(text) ? url.origin : undefined;
}

/** The page came from this very service: Swagger UI calling the API, over HAProxy's TLS too. */
function isSameOrigin(origin: string, host: Authority): boolean {
  const url = new URL(origin);
  const implied = DEFAULT_PORTS[url.protocol] ?? '';
  return (
    bare(url.hostname.replace(/^\[|\]$/g, '')) === host.host &&
    (url.port || implied) === (host.port || implied)
  );
}

let known: { at: number; addresses: ReadonlySet<string> } | undefined;

/** The addresses of this machine, looked up at most once in ten seconds. */
function ownAddresses(): ReadonlySet<string> {
  const now = Date.now();
  if (!known || now - known.at > 10_000) {
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    known = { at: now, addresses: new Set(addresses.map(({ address }) => plainAddress(address))) };
  }
  return known.addresses;
}

function refused(detail: string): AppError {
  return new AppError('origin_not_allowed', detail);
}
