import { Injectable, Logger } from '@nestjs/common';
import type { Resource, ResourceTemplate } from '@modelcontextprotocol/sdk/types.js';
import type { FeedEvent } from '../../signals/event-feed.js';
import { canonicalDomain } from '../../model/domain-name.js';
import { AppError } from '../../errors/app-error.js';
import { internalError } from '../../contract/problems/problem.filter.js';
import { type DeclaredResource, resourceOf } from '../../contract/resource.js';
import type { Caller, CatalogueResource, Native, ResourceContent } from './catalogue.js';
import { DeclaredMethods } from './declared-methods.js';
import { INTERNAL_ERROR, INVALID_PARAMS, isRpcError, rpcError } from '../rpc-error.js';
import { runDeclared } from './run-declared.js';
import { UriPattern } from './uri-template.js';

/** Until 2025-11-25 a resource that is not there has a code of its own; since 2026-07-28 it is a wrong parameter. */
const NOT_FOUND: Readonly<Record<Native['era'], number>> = { '2025': -32_002, '2026': INVALID_PARAMS };

interface Entry {
  resource: CatalogueResource;
  pattern: UriPattern;
}

/** Every service method declared with `@McpResource`, as MCP resources and templates. */
@Injectable()
export class ResourceRegistry {
  private readonly logger = new Logger('mcp');
  private entries: readonly Entry[] = [];

  constructor(private readonly methods: DeclaredMethods) {}

  load(): void {
    this.entries = [];
    for (const { declared, call } of this.methods.find(resourceOf)) {
      const pattern = new UriPattern(declared.uri);
      this.add({
        definition: define(declared, pattern),
        read: async (variables, caller) => {
          const content = await runDeclared({ input: declared.input, call }, variables, 'text', caller);
          const text = typeof content === 'string' ? content : JSON.stringify(content);
          return { mimeType: declared.mimeType, text };
        },
        changedBy: (change) => changedUris(declared, pattern, change),
      });
    }
  }

  add(resource: CatalogueResource): void {
    const { definition } = resource;
    const pattern = new UriPattern('uri' in definition ? definition.uri : definition.uriTemplate);
    this.entries = [...this.entries, { resource, pattern }].toSorted((a, b) =>
      a.pattern.template < b.pattern.template ? -1 : 1,
    );
  }

  list(): Resource[] {
    return this.entries.flatMap(({ resource: { definition } }) => ('uri' in definition ? [definition] : []));
  }

  templates(): ResourceTemplate[] {
    return this.entries.flatMap(({ resource: { definition } }) =>
      'uriTemplate' in definition ? [definition] : [],
    );
  }

  isTemplate(uri: string): boolean {
    return this.templates().some(({ uriTemplate }) => uriTemplate === uri);
  }

  exists(uri: string): boolean {
    return this.find(uri) !== undefined;
  }

  /** The URI in the form in which changes are told: with the domain in its canonical form. */
  canonical(uri: string): string {
    const found = this.find(uri);
    const domain = canonicalDomain(found?.variables['domain'] ?? '');
    return found && domain !== undefined ? found.pattern.expand({ ...found.variables, domain }) : uri;
  }

  /** @throws Error with a JSON-RPC code where there is nothing under this URI, or it cannot be read */
  async read(uri: string, caller: Caller): Promise<ResourceContent & { uri: string }> {
    const found = this.find(uri);
    if (!found)
      throw notFound(uri, 'resources/list and resources/templates/list show those there are.', caller);
    try {
      return { uri, ...(await found.resource.read(found.variables, caller)) };
    } catch (error) {
      if (isRpcError(error)) throw error;
      const known = error instanceof AppError ? error : this.unexpected(uri, error);
      if (known.status === 404 || known.status === 422) throw notFound(uri, known.detail, caller);
      throw rpcError(INTERNAL_ERROR, `${known.code}: ${known.detail}`, { code: known.code });
    }
  }

  /** The URIs whose content is another one after the change. */
  changedBy(change: FeedEvent): string[] {
    return this.entries.flatMap(({ resource }) => resource.changedBy(change));
  }

  private unexpected(uri: string, cause: unknown): AppError {
    const error = internalError(cause);
    this.logger.error(`${uri}: ${error.detail}`, cause instanceof Error ? cause.stack : String(cause));
    return error;
  }

  private find(uri: string): (Entry & { variables: Record<string, string> }) | undefined {
    for (const entry of this.entries) {
      const variables = entry.pattern.match(uri);
      if (variables) return { ...entry, variables };
    }
    return undefined;
  }
}

function define(
  { uri, name, title, description, mimeType }: DeclaredResource,
  { variables }: UriPattern,
): Resource | ResourceTemplate {
  const shared = { name, title, description, mimeType };
  return variables.length === 0 ? { uri, ...shared } : { uriTemplate: uri, ...shared };
}

function changedUris({ changesWith }: DeclaredResource, pattern: UriPattern, change: FeedEvent): string[] {
  if (!changesWith.includes(change.topic)) return [];
  if (pattern.variables.length === 0) return [pattern.template];
  return change.topic === 'routing' ? change.domains.map((domain) => pattern.expand({ domain })) : [];
}

function notFound(uri: string, what: string, { native }: Caller): Error {
  return rpcError(NOT_FOUND[native.era], `There is no resource ${uri.slice(0, 300)}: ${what}`, { uri });
}
