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
import type { Caller } from '../catalogue/catalogue.js';
import { McpMethods } from '../catalogue/mcp-methods.js';
import { progressSender } from '../progress.js';
import { ResourceUpdates } from '../catalogue/resource-updates.js';
import { INVALID_PARAMS, rpcError } from '../rpc-error.js';
import { CAPABILITIES, INSTRUCTIONS, SERVER_INFO } from '../server-info.js';

const LEVELS: readonly LoggingLevel[] = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
];
/** What is sent to a client that has not said what it wants to see. */
const DEFAULT_LEVEL: LoggingLevel = 'warning';
/** URIs that one session may watch. */
const MAX_SUBSCRIPTIONS = 1000;

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

/**
 * Makes the protocol side of one session, for the revisions from 2024-11-05 to 2025-11-25. Import it when there is
 * one: its library takes time and memory that a suite without such callers saves.
 */
export class SessionServerFactory {
  /** Making one is most of what a session would cost, so all have the same; it holds answers to elicitations only. */
  private readonly validator = new AjvJsonSchemaValidator();

  constructor(
    private readonly methods: McpMethods,
    private readonly updates: ResourceUpdates,
  ) {}

  startsSession(body: unknown): boolean {
    return Array.isArray(body) ? body.some((item) => isInitializeRequest(item)) : isInitializeRequest(body);
  }

  transport(
    options: WebStandardStreamableHTTPServerTransportOptions,
  ): WebStandardStreamableHTTPServerTransport {
    return new WebStandardStreamableHTTPServerTransport(options);
  }

  create(principal: Principal): Server {
    const { tools, caller, resources, prompts, completer } = this.methods;
    const server = new Server(SERVER_INFO, {
      capabilities: CAPABILITIES,
      instructions: INSTRUCTIONS,
      jsonSchemaValidator: this.validator,
    });
    let level = DEFAULT_LEVEL;
    server.setRequestHandler(SetLevelRequestSchema, ({ params }) => {
      level = params.level;
      return {};
    });
    const callerOf = (extra: Extra): Caller => ({
      principal,
      signal: extra.signal,
      progress: progressSender(extra._meta?.progressToken, extra.sendNotification),
      log: (of, data) => {
        if (LEVELS.indexOf(of) < LEVELS.indexOf(level)) return;
        const params = { level: of, logger: SERVER_INFO.name, data };
        extra.sendNotification({ method: 'notifications/message', params }).catch(() => undefined);
      },
      native: { era: '2025', extra },
    });
    server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: tools.list(principal.readOnly) }));
    server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) =>
      caller.call(params.name, params.arguments, callerOf(extra)),
    );
    server.setRequestHandler(ListResourcesRequestSchema, () => ({ resources: resources.list() }));
    server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
      resourceTemplates: resources.templates(),
    }));
    server.setRequestHandler(ReadResourceRequestSchema, async ({ params }, extra) => ({
      contents: [await resources.read(params.uri, callerOf(extra))],
    }));
    server.setRequestHandler(ListPromptsRequestSchema, () => ({ prompts: prompts.list(principal.readOnly) }));
    server.setRequestHandler(GetPromptRequestSchema, ({ params }, extra) =>
      prompts.get(params.name, params.arguments ?? {}, callerOf(extra)),
    );
    server.setRequestHandler(CompleteRequestSchema, ({ params }) => completer.complete(params));
    this.serveSubscriptions(server);
    return server;
  }

  private serveSubscriptions(server: Server): void {
    const { resources } = this.methods;
    /** Canonical URI → as the client wrote it, which is how it is told. */
    const watched = new Map<string, string>();
    let stop: (() => void) | undefined;
    server.setRequestHandler(SubscribeRequestSchema, ({ params: { uri } }) => {
      if (!resources.exists(uri))
        throw rpcError(-32_002, `There is no resource ${uri.slice(0, 300)}.`, { uri });
      if (watched.size >= MAX_SUBSCRIPTIONS)
        throw rpcError(INVALID_PARAMS, `A session can watch ${MAX_SUBSCRIPTIONS} resources at most.`);
      watched.set(resources.canonical(uri), uri);
      stop ??= this.updates.listen((changed) => {
        for (const [canonical, given] of watched)
          if (changed.has(canonical)) server.sendResourceUpdated({ uri: given }).catch(() => undefined);
      });
      return {};
    });
    server.setRequestHandler(UnsubscribeRequestSchema, ({ params: { uri } }) => {
      watched.delete(resources.canonical(uri));
      return {};
    });
    // Not an EventTarget: the library has this one hook.
    Object.assign(server, { onclose: () => stop?.() });
  }
}
