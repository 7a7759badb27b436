import { Injectable, Logger } from '@nestjs/common';
import type { Resource, ResourceTemplate } from '@modelcontextprotocol/sdk/types.js';
import type { Scope } from '../../model/scope/scope.js';
import type { ResourceEvent } from '../../signals/event-feed.js';
import { canonicalDomain } from '../../model/names/domain-name.js';
import { AppError } from '../../errors/app-error.js';
import { namingTools, namingToolsIn } from '../../errors/operation-names.js';
import { internalError } from '../../contract/problems/problem.filter.js';
import { type DeclaredResource, resourceOf } from '../../contract/resource.js';
import { INTERNAL_ERROR, INVALID_PARAMS, isRpcError, rpcError } from '../protocol/json-rpc.js';
import type { Caller, CatalogueResource, ProtocolRequest, ResourceContent } from './entries.js';
import { callServiceMethod, ServiceMethodFinder } from './service-methods.js';
import { UriTemplate } from './uri-template.js';

/** Until 2025-11-25 MCP has its own code for an unknown resource. Since 2026-07-28 it is an invalid parameter. */
export const RESOURCE_NOT_FOUND: Readonly<Record<ProtocolRequest['protocol'], number>> = {
  sessions: -32_002,
  stateless: INVALID_PARAMS,
};

const KNOWN_URIS = 'Call resources/list and resources/templates/list for the known URIs.';

interface Entry {
  resource: CatalogueResource;
  template: UriTemplate;
}

/** The resources and resource templates: every service method that is declared with `@McpResource`. */
@Injectable()
export class ResourceRegistry {
  readonly #logger = new Logger('mcp');
  #entries: readonly Entry[] = [];

  constructor(private readonly methods: ServiceMethodFinder) {}

  load(): void {
    this.#entries = [];
    for (const method of this.methods.find(resourceOf)) {
      const { declaration } = method;
      const template = new UriTemplate(declaration.uri);
      this.add({
        definition: namingToolsIn(toDefinition(declaration, template)),
        isForScope: declaration.scope === 'view',
        read: async (variables, caller) => {
          const content = await callServiceMethod(method, variables, 'text', caller);
          const text = typeof content === 'string' ? content : namingTools(JSON.stringify(content));
          return { mimeType: declaration.mimeType, text };
        },
        notifies: declaration.changesWith.length > 0,
        changedBy: (change) => changedUris(declaration, template, change),
      });
    }
  }

  add(resource: CatalogueResource): void {
    const { definition } = resource;
    const template = new UriTemplate('uri' in definition ? definition.uri : definition.uriTemplate);
    this.#entries = [...this.#entries, { resource, template }].toSorted((a, b) =>
      a.template.source < b.template.source ? -1 : 1,
    );
  }

  list(scope?: Scope): Resource[] {
    return this.#offered(scope).flatMap(({ definition }) => ('uri' in definition ? [definition] : []));
  }

  templates(scope?: Scope): ResourceTemplate[] {
    return this.#offered(scope).flatMap(({ definition }) =>
      'uriTemplate' in definition ? [definition] : [],
    );
  }

  isTemplate(uri: string, scope: Scope | undefined): boolean {
    return this.templates(scope).some(({ uriTemplate }) => uriTemplate === uri);
  }

  exists(uri: string, scope: Scope | undefined): boolean {
    return this.#find(uri, scope) !== undefined;
  }

  /**
   * Why a client cannot subscribe to this resource; undefined if subscribers are notified of its changes. A token that is
   * limited to some domains gets notifications only about those: one about all domains would tell of changes of others.
   */
  findSubscriptionProblem(
    uri: string,
    scope: Scope | undefined,
  ): { exists: boolean; message: string } | undefined {
    const found = this.#find(uri, scope);
    const shown = uri.slice(0, 300);
    if (!found) return { exists: false, message: `There is no resource ${shown}. ${KNOWN_URIS}` };
    const domain = canonicalDomain(found.variables['domain'] ?? '');
    const isInScope = scope?.limitsDomains !== true || (domain !== undefined && scope.includes(domain));
    if (found.resource.notifies && isInScope) return undefined;
    const message = `The suite sends no notifications about ${shown}. Read it again when you need it.`;
    return { exists: true, message };
  }

  /** Returns the URI with its domain in canonical form. `changedBy` uses the same form. */
  canonical(uri: string): string {
    const found = this.#find(uri);
    const domain = canonicalDomain(found?.variables['domain'] ?? '');
    return found && domain !== undefined ? found.template.expand({ ...found.variables, domain }) : uri;
  }

  /** @throws Error with a JSON-RPC code if the resource does not exist or cannot be read */
  async read(uri: string, caller: Caller): Promise<ResourceContent & { uri: string }> {
    const found = this.#find(uri, caller.principal.scope);
    if (!found) throw notFound(uri, KNOWN_URIS, caller);
    try {
      return { uri, ...(await found.resource.read(found.variables, caller)) };
    } catch (error) {
      if (isRpcError(error)) throw error;
      const known = error instanceof AppError ? error : this.#logUnexpected(uri, error);
      if (known.status === 404 || known.status === 422) throw notFound(uri, known.detail, caller);
      throw rpcError(INTERNAL_ERROR, `${known.code}: ${known.detail}`, { code: known.code });
    }
  }

  /** Returns the URIs of all resources whose content the event affects. */
  changedBy(event: ResourceEvent): string[] {
    return this.#entries.flatMap(({ resource }) => resource.changedBy(event));
  }

  #logUnexpected(uri: string, cause: unknown): AppError {
    const error = internalError(cause);
    this.#logger.error(
      `Reading ${uri} failed: ${error.detail}`,
      cause instanceof Error ? cause.stack : String(cause),
    );
    return error;
  }

  #offered(scope: Scope | undefined): CatalogueResource[] {
    return this.#entries.map(({ resource }) => resource).filter((resource) => isOffered(resource, scope));
  }

  #find(uri: string, scope?: Scope): (Entry & { variables: Record<string, string> }) | undefined {
    for (const entry of this.#entries) {
      if (!isOffered(entry.resource, scope)) continue;
      const variables = entry.template.match(uri);
      if (variables) return { ...entry, variables };
    }
    return undefined;
  }
}

function isOffered({ isForScope = false }: CatalogueResource, scope: Scope | undefined): boolean {
  return isForScope || scope?.limitsDomains !== true;
}

function toDefinition(
  { uri, name, title, description, mimeType }: DeclaredResource,
  { variables }: UriTemplate,
): Resource | ResourceTemplate {
  const shared = { name, title, description, mimeType };
  return variables.length === 0 ? { uri, ...shared } : { uriTemplate: uri, ...shared };
}

function changedUris(
  { changesWith }: DeclaredResource,
  template: UriTemplate,
  change: ResourceEvent,
): string[] {
  if (!changesWith.includes(change.topic)) return [];
  if (template.variables.length === 0) return [template.source];
  return change.topic === 'routing' ? change.domains.map((domain) => template.expand({ domain })) : [];
}

function notFound(uri: string, explanation: string, { request }: Caller): Error {
  return rpcError(
    RESOURCE_NOT_FOUND[request.protocol],
    `There is no resource ${uri.slice(0, 300)}. ${explanation}`,
    { uri },
  );
}
