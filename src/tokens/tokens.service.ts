import { Injectable } from '@nestjs/common';
import { isExpired, NamedTokens } from '../access/named-tokens.js';
import type { PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import { Operation } from '../contract/operation.js';
import { paginate } from '../contract/pages/page.js';
import { invalidField } from '../errors/invalid-fields.js';
import { findScopeProblem, SCOPE_KEYS, type ScopeFields } from '../model/scope/scope.js';
import { Settings } from '../settings/settings.js';
import {
  AddedTokenDto,
  AddTokenDto,
  ListTokensDto,
  RevokedTokenDto,
  RevokeTokenDto,
  TokenListDto,
} from './tokens.dto.js';

/** Tokens of callers. No tool of MCP: a model must not see the secret of a token. */
@Injectable()
export class TokensService {
  constructor(
    private readonly tokens: NamedTokens,
    private readonly settings: Settings,
  ) {}

  @Operation({
    name: 'haproxy_list_tokens',
    scope: 'all',
    title: 'List the tokens',
    description:
      'Lists the tokens of TOKENS_FILE, with role and expiry, but never a secret. MCP_TOKEN and MCP_READONLY_TOKEN are in ' +
      'a file of their own and not in this list.',
    output: TokenListDto,
    readOnly: true,
    adminOnly: true,
    idempotent: true,
    mcp: false,
  })
  async list(input: ListTokensDto): Promise<TokenListDto> {
    this.tokens.refresh();
    const valid = this.tokens.tokens.map((token) => ({
      name: token.name,
      status: isExpired(token) ? ('expired' as const) : ('valid' as const),
      role: token.role,
      ...(token.scope?.fields as TokenLimits | undefined),
      ...(token.expiresAt !== undefined && { expires_at: new Date(token.expiresAt).toISOString() }),
    }));
    const unusable = this.tokens.unusable.map(({ name, reason }) => ({
      name,
      status: 'unusable' as const,
      problem: reason,
    }));
    // Unusable tokens can share a name.
    const keyed = [...valid, ...unusable].map((item, index) => ({
      item,
      key: `${item.name} ${String(index).padStart(6, '0')}`,
    }));
    const sorted = keyed.toSorted((a, b) => (a.key < b.key ? -1 : 1));
    const page = paginate(sorted, ({ key }) => key, input);
    const problem = this.tokens.fileProblem;
    return {
      ...page,
      items: page.items.map(({ item }) => item),
      ...(problem !== undefined && { problem }),
    };
  }

  @Operation({
    name: 'haproxy_add_token',
    scope: 'all',
    title: 'Add a token',
    description:
      'Makes a token with a name, a role, optional limits and an optional expiry. The answer has the secret, which is shown only this once. ' +
      'The name is the actor in the audit log. Next: {haproxy_revoke_token} when it is no longer needed.',
    output: AddedTokenDto,
    adminOnly: true,
    mcp: false,
    errors: ['token_exists'],
  })
  async add({ name, role, expires_at: expires, dry_run, ...limits }: AddTokenDto): Promise<AddedTokenDto> {
    const expiresAt = expires === undefined ? undefined : Date.parse(expires);
    if (expiresAt !== undefined && expiresAt <= Date.now())
      throw invalidField('expires_at', 'must be in the future');
    const scope = scopeOf(limits);
    const secret = await this.tokens.add({ name, role, expiresAt, scope }, dry_run);
    return {
      name,
      role,
      ...(scope as TokenLimits | undefined),
      ...(expiresAt !== undefined && { expires_at: new Date(expiresAt).toISOString() }),
      ...(dry_run ? this.#plan(`the token ${name} with the role ${role} is added`) : { token: secret }),
    };
  }

  @Operation({
    name: 'haproxy_revoke_token',
    scope: 'all',
    title: 'Revoke a token',
    description:
      'Deletes a token. Its next request gets 401, and its MCP sessions, streams and waiting calls end at once. Operations ' +
      'that it started and waits for are cancelled; others run to their end.',
    output: RevokedTokenDto,
    adminOnly: true,
    destructive: true,
    mcp: false,
    errors: ['token_not_found'],
  })
  async revoke({ name, dry_run }: RevokeTokenDto): Promise<RevokedTokenDto> {
    await this.tokens.revoke(name, dry_run);
    return { name, ...(dry_run && this.#plan(`the token ${name} is revoked`)) };
  }

  #plan(effect: string): PlannedDto {
    const { tokens: path } = this.settings.files;
    return {
      dry_run: true,
      plan: [{ target: 'file', action: 'write_file', name: path, text: `${path}: ${effect}` }],
    };
  }
}

type TokenLimits = Omit<AddTokenDto, 'name' | 'role' | 'expires_at' | 'dry_run'>;

/** What limits the token; undefined if nothing does. @throws AppError validation_failed */
function scopeOf(given: TokenLimits): ScopeFields | undefined {
  const named = SCOPE_KEYS.filter((key) => given[key] !== undefined);
  if (named.length === 0) return undefined;
  const fields: ScopeFields = Object.fromEntries(named.map((key) => [key, given[key]]));
  const problem = findScopeProblem(fields);
  if (problem) throw invalidField(pathOf(problem.path), problem.reason);
  return fields;
}

/** `domains[0]`. */
function pathOf(path: readonly (string | number)[]): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : index === 0 ? key : `.${key}`))
    .join('');
}
