import type { IncomingMessage } from 'node:http';
import type { BlockList } from 'node:net';
import { Injectable, Logger } from '@nestjs/common';
import { isDocsPath } from '../contract/docs-path.js';
import { AppError } from '../errors/app-error.js';
import { contains, networks } from '../model/ip-address.js';
import { Settings } from '../settings/settings.js';
import { AllowedNames, headerCount, plainAddress } from './allowed-names.js';
import { FailedAttempts } from './failed-attempts.js';
import type { Principal } from './principal.js';
import { TokenStore } from './token-store.js';

/** Asked by supervisors and balancers, which have no token; they say nothing but alive and ready. */
const OPEN_PATHS = new Set(['/healthz', '/readyz']);

/** Decides who may come in, before a body is read: Host and Origin, then trusted network or token (SPEC section 7). */
@Injectable()
export class AccessGuard {
  private readonly logger = new Logger('access');
  readonly names: AllowedNames;
  private readonly trusted: readonly { cidr: string; set: BlockList }[];
  private readonly failures = new FailedAttempts();

  constructor(
    settings: Settings,
    private readonly tokens: TokenStore,
  ) {
    this.names = new AllowedNames(settings);
    this.trusted = settings.trustedNetworks.map((cidr) => ({ cidr, set: networks([cidr]) }));
  }

  /**
   * The caller, or undefined where none is asked for: the probes, and (`exists` false) paths that are answered 404
   * anyway, as clients look for OAuth metadata there before they have a token.
   * @throws AppError origin_not_allowed, unauthorized
   */
  async admit(request: IncomingMessage, exists: boolean): Promise<Principal | undefined> {
    const path = request.url?.split('?', 1)[0] ?? '';
    if (!path.startsWith('/'))
      throw new AppError('malformed_request', 'The request target must be a path beginning with /.');
    if (OPEN_PATHS.has(path)) return undefined;
    this.names.check(request);
    if (!exists) return undefined;
    const given = bearerOf(request) || basicOf(request, path);
    const name = typeof given === 'string' ? this.tokens.find(given) : undefined;
    if (name !== undefined) return { kind: name, actor: name, readOnly: name === 'readonly' };
    const network = this.networkOf(request);
    if (network !== undefined) return { kind: 'network', actor: network, readOnly: false };
    if (given !== undefined) await this.failed(request, path);
    throw new AppError(
      'unauthorized',
      'Send the header "Authorization: Bearer TOKEN" once, with a token from MCP_TOKEN_FILE.',
    );
  }

  /** Both ends must lie in one network: 100.64.0.0/10 is also carrier NAT, and only a real interface has both. */
  private networkOf(request: IncomingMessage): string | undefined {
    // HAProxy connects from this machine, perhaps from an address in a trusted network; its clients do not.
    if (this.names.isForwarded(request)) return undefined;
    const { socket } = request;
    const remote = plainAddress(socket.remoteAddress ?? '');
    const local = plainAddress(socket.localAddress ?? '');
    if (remote === '' || local === '') return undefined;
    const found = this.trusted.find(({ set }) => contains(set, remote) && contains(set, local));
    return found && `${found.cidr} ${remote}`;
  }

  private async failed(request: IncomingMessage, path: string): Promise<void> {
    const source = plainAddress(request.socket.remoteAddress ?? '');
    const count = this.failures.count(source);
    // The first few, then every power of two: enough to see, too little to fill a disk with.
    if (count <= 5 || Number.isInteger(Math.log2(count)))
      this.logger.warn(
        `Wrong token from ${source} for ${request.method} ${JSON.stringify(path.slice(0, 200))} (${count} within a minute)`,
      );
    await this.failures.wait(count);
  }
}

/**
 * The token as the password of HTTP Basic (RFC 7617), which is what a browser can be asked for. Taken only where
 * nothing can be changed: a browser sends it by itself, also when another site made it ask.
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

/** The token; false where the header is there but holds none; undefined without one. */
function bearerOf(request: IncomingMessage): string | false | undefined {
  const { authorization } = request.headers;
  if (authorization === undefined) return undefined;
  if (headerCount(request, 'authorization') !== 1) return false;
  return /^bearer +([\u0021-\u007E]+) *$/i.exec(authorization)?.[1] ?? false;
}
