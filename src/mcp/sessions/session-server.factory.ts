import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  WebStandardStreamableHTTPServerTransport,
  type WebStandardStreamableHTTPServerTransportOptions,
} from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import {
  CallToolRequestSchema,
  CompleteRequestSchema,
  GetPromptRequestSchema,
  isInitializeRequest,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  type LoggingLevel,
  ReadResourceRequestSchema,
  type ServerNotification,
  type ServerRequest,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import type { Principal } from '../../access/principal.js';
import type { Caller } from '../catalogue/entries.js';
import type { McpCatalogue } from '../catalogue/mcp-catalogue.js';
import { RESOURCE_NOT_FOUND } from '../catalogue/resource-registry.js';
import type { ResourceUpdates } from '../catalogue/resource-updates.js';
import { INVALID_PARAMS, rpcError } from '../protocol/json-rpc.js';
import { progressReporter } from '../protocol/progress.js';
import { LOG_LEVELS } from '../protocol/request-params.js';
import { CAPABILITIES, INSTRUCTIONS, SERVER_INFO } from '../protocol/server-info.js';

/** Until the client sends `logging/setLevel`. */
const DEFAULT_LEVEL: LoggingLevel = 'warning';
/** Resources that one session can subscribe to. */
const MAX_SUBSCRIPTIONS = 1000;

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

/**
 * Creates the MCP server of a session, for the revisions 2024-11-05 to 2025-11-25. Import this file dynamically: it
 * loads the MCP SDK, which a suite without such clients does not need.
 */
export class SessionServerFactory {
  /**
   * Shared by all sessions, because creating a validator is the most expensive part of a session. The SDK uses it only
   * for answers to elicitations.
   */
  readonly #validator = new AjvJsonSchemaValidator();

  constructor(
    private readonly catalogue: McpCatalogue,
    private readonly updates: ResourceUpdates,
  ) {}

  isInitialize(body: unknown): boolean {
    return Array.isArray(body) ? body.some((item) => isInitializeRequest(item)) : isInitializeRequest(body);
  }

  createTransport(
    options: WebStandardStreamableHTTPServerTransportOptions,
  ): WebStandardStreamableHTTPServerTransport {
    return new WebStandardStreamableHTTPServerTransport(options);
  }

  createServer(principal: Principal): Server {
    const { tools, executor, resources, prompts, completer } = this.catalogue;
    const server = new Server(SERVER_INFO, {
      capabilities: CAPABILITIES,
      instructions: INSTRUCTIONS,
      jsonSchemaValidator: this.#validator,
    });
    let minimumLevel = DEFAULT_LEVEL;
    server.setRequestHandler(SetLevelRequestSchema, ({ params }) => {
      minimumLevel = params.level;
      return {};
    });
    const callerOf = (extra: Extra): Caller => ({
      principal,
      signal: extra.signal,
      progress: progressReporter(extra._meta?.progressToken, extra.sendNotification),
      log: (level, data) => {
        if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(minimumLevel)) return;
        const params = { level, logger: SERVER_INFO.name, data };
        extra.sendNotification({ method: 'notifications/message', params }).catch(() => undefined);
      },
      request: { protocol: 'sessions', extra },
    });
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: tools.list(principal.role, principal.scope),
    }));
    server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) =>
      executor.call(params.name, params.arguments, callerOf(extra)),
    );
    server.setRequestHandler(ListResourcesRequestSchema, () => ({
      resources: resources.list(principal.scope),
    }));
    server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
      resourceTemplates: resources.templates(principal.scope),
    }));
    server.setRequestHandler(ReadResourceRequestSchema, async ({ params }, extra) => ({
      contents: [await resources.read(params.uri, callerOf(extra))],
    }));
    server.setRequestHandler(ListPromptsRequestSchema, () => ({
      prompts: prompts.list(principal.role, principal.scope),
    }));
    server.setRequestHandler(GetPromptRequestSchema, ({ params }, extra) =>
      prompts.get(params.name, params.arguments ?? {}, callerOf(extra)),
    );
    server.setRequestHandler(CompleteRequestSchema, ({ params }) =>
      completer.complete(params, principal.scope),
    );
    this.#handleSubscriptions(server, principal);
    return server;
  }

  #handleSubscriptions(server: Server, principal: Principal): void {
    const { resources } = this.catalogue;
    /** Canonical URI → the URI as the client wrote it. Notifications contain the client's form. */
    const subscribed = new Map<string, string>();
    let unsubscribe: (() => void) | undefined;
    server.setRequestHandler(SubscribeRequestSchema, ({ params: { uri } }) => {
      const problem = resources.findSubscriptionProblem(uri, principal.scope);
      if (problem)
        throw rpcError(problem.exists ? INVALID_PARAMS : RESOURCE_NOT_FOUND.sessions, problem.message, {
          uri,
        });
      if (subscribed.size >= MAX_SUBSCRIPTIONS)
        throw rpcError(
          INVALID_PARAMS,
          `The session has ${MAX_SUBSCRIPTIONS} subscriptions, which is the limit. Unsubscribe from a resource first.`,
        );
      subscribed.set(resources.canonical(uri), uri);
      unsubscribe ??= this.updates.subscribe((changed) => {
        for (const [canonical, clientUri] of subscribed)
          if (changed.has(canonical)) server.sendResourceUpdated({ uri: clientUri }).catch(() => undefined);
      });
      return {};
    });
    server.setRequestHandler(UnsubscribeRequestSchema, ({ params: { uri } }) => {
      subscribed.delete(resources.canonical(uri));
      return {};
    });
    // The SDK's Server is no EventTarget. This property is its only hook for the end of the connection.
    Object.assign(server, { onclose: () => unsubscribe?.() });
  }
}
