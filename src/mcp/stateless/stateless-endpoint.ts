import { setTimeout as delay } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import type {
  McpHttpHandler,
  McpRequestContext,
  Server,
  ServerContext,
  Tool,
} from '@modelcontextprotocol/server';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ownerOf, type Principal } from '../../access/principal.js';
import { abortOnClose } from '../../lib/abort-on-close.js';
import { CallerQuota } from '../../lib/caller-quota.js';
import type { Caller } from '../catalogue/entries.js';
import { McpCatalogue } from '../catalogue/mcp-catalogue.js';
import { ResourceUpdates } from '../catalogue/resource-updates.js';
import { toFetchRequest, writeFetchResponse } from '../protocol/fetch-exchange.js';
import {
  idOf,
  INTERNAL_ERROR,
  INVALID_PARAMS,
  type RpcErrorMessage,
  rpcErrorMessage,
} from '../protocol/json-rpc.js';
import { invalidStatelessParamsError } from '../protocol/request-params.js';
import { progressReporter } from '../protocol/progress.js';
import { CAPABILITIES, INSTRUCTIONS, SERVER_INFO } from '../protocol/server-info.js';

/** Open streams of `subscriptions/listen`, of all callers together. */
const MAX_LISTEN_STREAMS = 256;
/** How long the shutdown waits for active requests. */
const DRAIN_TIMEOUT_MS = 5000;

type Library = typeof import('@modelcontextprotocol/server');

interface Loaded {
  library: Library;
  handler: McpHttpHandler;
}

/** The 2026-07-28 revision: no sessions, each request carries its own context and gets a server of its own. */
@Injectable()
export class StatelessEndpoint implements BeforeApplicationShutdown {
  readonly #logger = new Logger('mcp');
  /** Loaded with the first request, because the library costs start time and memory. */
  #loaded: Promise<Loaded> | undefined;
  #stopUpdates = (): void => undefined;
  /** Without the streams of `subscriptions/listen`, which never end by themselves. */
  #activeRequests = 0;
  readonly #listenStreams = new CallerQuota(MAX_LISTEN_STREAMS);

  constructor(
    private readonly catalogue: McpCatalogue,
    private readonly updates: ResourceUpdates,
  ) {}

  async handler(): Promise<McpHttpHandler> {
    return (await this.#load()).handler;
  }

  /**
   * Whether the request belongs to the stateless revision. This includes invalid requests that claim this revision,
   * because `handle` sends their errors. The decision is the same as that of the library's `isLegacyRequest`, which
   * would need a Fetch API request.
   */
  async accepts({ method, headers, body }: FastifyRequest): Promise<boolean> {
    if (method !== 'POST') return false;
    const { library } = await this.#load();
    // Always strings: Node.js joins repeated headers.
    const { 'mcp-protocol-version': version, 'mcp-method': mcpMethod, 'mcp-name': name } = headers;
    const { kind } = library.classifyInboundRequest({
      httpMethod: method,
      ...(typeof version === 'string' && { protocolVersionHeader: version }),
      ...(typeof mcpMethod === 'string' && { mcpMethodHeader: mcpMethod }),
      ...(typeof name === 'string' && { mcpNameHeader: name }),
      body: body ?? null,
    });
    // 'legacy' is the library's name for the revisions with sessions.
    return kind !== 'legacy';
  }

  async handle({ raw, body }: FastifyRequest, reply: FastifyReply, principal: Principal): Promise<void> {
    const response = reply.hijack().raw;
    const disconnected = abortOnClose(response);
    const send = (answer: Response) =>
      writeFetchResponse(answer, response, { disconnected, actor: principal.actor });
    // This revision sends the errors of methods with status 200.
    const refuse = (error: RpcErrorMessage) => send(Response.json(error));
    const invalid = invalidStatelessParamsError(body) ?? this.#subscriptionError(body, principal);
    if (invalid) {
      await refuse(invalid);
      return;
    }
    const release = this.#admit(body, principal);
    if (!release) {
      const { limit, perCaller } = this.#listenStreams;
      const message =
        `Too many streams of subscriptions/listen are open. The limit is ${limit} in total and ${perCaller} for one ` +
        'caller. Close a stream first.';
      await refuse(rpcErrorMessage(idOf(body), INTERNAL_ERROR, message));
      return;
    }
    try {
      const authInfo = { token: '', clientId: principal.actor, scopes: [], extra: { principal } };
      const handler = await this.handler();
      await send(
        await handler.fetch(toFetchRequest(raw, disconnected), {
          authInfo,
          parsedBody: this.#withCanonicalUris(body) ?? null,
        }),
      );
    } finally {
      release();
    }
  }

  /** The error for a stream of notifications about a resource that sends none. */
  #subscriptionError(body: unknown, principal: Principal): RpcErrorMessage | undefined {
    for (const uri of subscriptionsOf(body) ?? []) {
      const problem = this.catalogue.resources.findSubscriptionProblem(uri, principal.scope);
      if (problem) return rpcErrorMessage(idOf(body), INVALID_PARAMS, problem.message, { uri });
    }
    return undefined;
  }

  /** The library compares URIs as texts, and changes are published with canonical ones. */
  #withCanonicalUris(body: unknown): unknown {
    const uris = subscriptionsOf(body);
    if (!uris) return body;
    const message = body as { params: { notifications: object } };
    const resourceSubscriptions = uris.map((uri) => this.catalogue.resources.canonical(uri));
    const notifications = { ...message.params.notifications, resourceSubscriptions };
    return { ...message, params: { ...message.params, notifications } };
  }

  /** Counts the request. Returns a function to call at its end, or undefined if the caller has too many streams. */
  #admit(body: unknown, principal: Principal): (() => void) | undefined {
    const listens = (body as { method?: unknown } | null)?.method === 'subscriptions/listen';
    if (listens) return this.#listenStreams.acquire(ownerOf(principal));
    this.#activeRequests += 1;
    return () => {
      this.#activeRequests -= 1;
    };
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.#stopUpdates();
    const deadline = Date.now() + DRAIN_TIMEOUT_MS;
    while (this.#activeRequests > 0 && Date.now() < deadline) await delay(25);
    const loaded = await this.#loaded;
    await loaded?.handler.close();
  }

  #load(): Promise<Loaded> {
    this.#loaded ??= import('@modelcontextprotocol/server').then((library) => {
      const handler = library.createMcpHandler(
        (context) => this.#createServer(library, principalOfContext(context)),
        {
          legacy: 'reject',
          maxSubscriptions: MAX_LISTEN_STREAMS,
          onerror: (error) => this.#logger.debug(`MCP request failed: ${error.message}`),
        },
      );
      this.#stopUpdates = this.updates.subscribe((uris) => {
        for (const uri of uris) handler.notify.resourceUpdated(uri);
      });
      return { library, handler };
    });
    return this.#loaded;
  }

  #createServer(library: Library, principal: Principal): Server {
    const { tools, executor, resources, prompts, completer } = this.catalogue;
    const server = new library.Server(SERVER_INFO, {
      capabilities: CAPABILITIES,
      instructions: INSTRUCTIONS,
    });
    // The two MCP libraries have different types for a JSON Schema. The JSON is the same.
    server.setRequestHandler('tools/list', () => ({
      tools: tools.list(principal.role, principal.scope) as Tool[],
    }));
    server.setRequestHandler('tools/call', ({ params }, context) =>
      executor.call(params.name, params.arguments, callerOf(context, principal)),
    );
    server.setRequestHandler('resources/list', () => ({ resources: resources.list(principal.scope) }));
    server.setRequestHandler('resources/templates/list', () => ({
      resourceTemplates: resources.templates(principal.scope),
    }));
    server.setRequestHandler('resources/read', async ({ params }, context) => ({
      contents: [await resources.read(params.uri, callerOf(context, principal))],
    }));
    server.setRequestHandler('prompts/list', () => ({
      prompts: prompts.list(principal.role, principal.scope),
    }));
    server.setRequestHandler('prompts/get', ({ params }, context) =>
      prompts.get(params.name, params.arguments ?? {}, callerOf(context, principal)),
    );
    server.setRequestHandler('completion/complete', ({ params }) =>
      completer.complete(params, principal.scope),
    );
    return server;
  }
}

function callerOf(context: ServerContext, principal: Principal): Caller {
  const { signal, _meta, notify, log } = context.mcpReq;
  return {
    principal,
    signal,
    progress: progressReporter(_meta?.progressToken, notify),
    // The library compares the level with the one in the request, and drops the line if the request names no level.
    log: (level, data) => {
      log(level, data, SERVER_INFO.name).catch(() => undefined);
    },
    request: { protocol: 'stateless', context },
  };
}

function principalOfContext({ authInfo }: McpRequestContext): Principal {
  const principal = authInfo?.extra?.['principal'] as Principal | undefined;
  if (!principal) throw new Error('invariant: the controller passes the principal in authInfo');
  return principal;
}

/** The resources that a `subscriptions/listen` request with valid parameters names. */
function subscriptionsOf(body: unknown): readonly string[] | undefined {
  const { method, params } = (body ?? {}) as {
    method?: unknown;
    params?: { notifications?: { resourceSubscriptions?: readonly string[] } };
  };
  return method === 'subscriptions/listen' ? params?.notifications?.resourceSubscriptions : undefined;
}
