import type { IncomingMessage } from 'node:http';
import { Injectable, Logger } from '@nestjs/common';
import { isDocsPath } from '../contract/openapi.js';
import type { Role } from '../contract/role.js';
import { withoutTokens } from '../contract/token-secret.js';
import { AppError } from '../errors/app-error.js';
import { Settings } from '../settings/settings.js';
import { AllowedNames, headerCount, plainAddress } from './allowed-names.js';
import { FailedAttempts } from './failed-attempts.js';
import { NamedTokens, ownerOfToken } from './named-tokens.js';
import type { Principal } from './principal.js';
import { digestOf, TokenStore } from './token-store.js';
import { TrustedNetworks } from './trusted-networks.js';

/** Probe paths for supervisors and load balancers, which send no token. The answers hold only the health of the suite. */
const OPEN_PATHS = new Set(['/healthz', '/readyz']);

/**
 * Identifies the caller of a request before its body is read. Checks Host and Origin first, then trusted network or
 * token (specification, section 7).
 */
@Injectable()
export class AccessGuard {
  readonly #logger = new Logger('access');
  readonly names: AllowedNames;
  readonly #trusted: TrustedNetworks;
  readonly #trustedRole: Role;
  readonly #failures = new FailedAttempts();

  constructor(
    settings: Settings,
    private readonly tokens: TokenStore,
    private readonly named: NamedTokens,
  ) {
    this.names = new AllowedNames(settings);
    this.#trustedRole = settings.trustedRole;
    this.#trusted = new TrustedNetworks(settings);
  }

  /**
   * Returns the caller; undefined for requests that need no token: the probes, and missing paths (`exists` is false).
   * A client without a token may request OAuth metadata, which is a missing path, and must get 404 instead of 401.
   *
   * @throws AppError origin_not_allowed, unauthorized, malformed_request
   */
  async admit(request: IncomingMessage, exists: boolean): Promise<Principal | undefined> {
    const path = request.url?.split('?', 1)[0] ?? '';
    if (!path.startsWith('/'))
      throw new AppError('malformed_request', 'The request target must be a path that begins with /.');
    if (OPEN_PATHS.has(path)) return undefined;
    this.names.check(request);
    if (!exists) return undefined;
    const given = bearerOf(request) || basicOf(request, path);
    const known = typeof given === 'string' ? this.#identify(given) : undefined;
    if (known) return known;
    // A request with an Authorization header is judged by the header alone: a revoked token gets no access through a
    // trusted network either.
    if (given === undefined) {
      // HAProxy may connect from an address in a trusted network, but its clients are not in it.
      const network = this.names.isForwarded(request) ? undefined : await this.#trusted.find(request.socket);
      if (network !== undefined) return { kind: 'network', actor: network, role: this.#trustedRole };
    } else await this.#delayFailure(request, path);
    throw new AppError(
      'unauthorized',
      'The request has no valid token. Send one header "Authorization: Bearer TOKEN" with a token from MCP_TOKEN_FILE or TOKENS_FILE.',
    );
  }

  /** The caller with this token; undefined if the token is not valid. */
  #identify(token: string): Principal | undefined {
    const digest = digestOf(token);
    const known = this.tokens.find(digest);
    if (known) {
      const { name, owner } = known;
      return { kind: name, actor: name, role: name === 'readonly' ? 'read' : 'admin', owner };
    }
    const named = this.named.find(digest);
    if (!named) return undefined;
    const { name, role, scope } = named;
    // What only an administrator may do concerns all domains.
    const isLimited = role === 'admin' && scope?.limitsDomains === true;
    return {
      kind: 'token',
      actor: name,
      role: isLimited ? 'operate' : role,
      scope,
      owner: ownerOfToken(named),
    };
  }

  /** Logs and delays a request with a wrong token. */
  async #delayFailure(request: IncomingMessage, path: string): Promise<void> {
    const source = plainAddress(request.socket.remoteAddress ?? '');
    const count = this.#failures.count(source);
    // Logs the first five, then every power of two, so that failures cannot fill the disk.
    if (count <= 5 || Number.isInteger(Math.log2(count)))
      this.#logger.warn(
        `Wrong token from ${source} for ${request.method} ${JSON.stringify(withoutTokens(path).slice(0, 200))} (${count} within a minute)`,
      );
    await this.#failures.wait(count);
  }
}

/**
 * The token as the password of HTTP Basic (RFC 7617), which browsers can ask for. Accepted only to read the docs,
 * because a browser also sends the password with requests that another site causes. False if the header holds no
 * password or is not accepted here; undefined without a header.
 */
function basicOf(request: IncomingMessage, path: string): string | false | undefined {
  const { method, headers } = request;
  if (headers.authorization === undefined) return undefined;
  if (!isDocsPath(path) || (method !== 'GET' && method !== 'HEAD')) return false;
  if (headerCount(request, 'authorization') !== 1) return false;
  const encoded = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(headers.authorization)?.[1] ?? '';
  const pair = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  return colon === -1 ? false : pair.slice(colon + 1);
}

/** The bearer token; false if the header holds none, or was sent twice; undefined without a header. */
function bearerOf(request: IncomingMessage): string | false | undefined {
  const { authorization } = request.headers;
  if (authorization === undefined) return undefined;
  if (headerCount(request, 'authorization') !== 1) return false;
  return /^bearer +([\u0021-\u007E]+) *$/i.exec(authorization)?.[1] ?? false;
}
