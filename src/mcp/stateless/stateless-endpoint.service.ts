import { setTimeout as pause } from 'node:timers/promises';
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
import type { Caller } from '../catalogue/catalogue.js';
import { McpMethods } from '../catalogue/mcp-methods.js';
import { progressSender } from '../progress.js';
import { ResourceUpdates } from '../catalogue/resource-updates.js';
import { INTERNAL_ERROR, rpcErrorAnswer } from '../rpc-error.js';
import { CAPABILITIES, INSTRUCTIONS, SERVER_INFO } from '../server-info.js';
import { sendWebResponse, webRequest } from '../web-exchange.js';

/** Streams of `subscriptions/listen` at the same time. */
const MAX_LISTENERS = 256;
const DRAIN_MS = 5000;

type Library = typeof import('@modelcontextprotocol/server');

/** The 2026-07-28 revision: no sessions, each request carries what it needs, a server lives as long as one request. */
@Injectable()
export class StatelessEndpoint implements BeforeApplicationShutdown {
  private readonly logger = new Logger('mcp');
  /** From the first request on: the library takes time and memory that a suite without such callers saves. */
  private loaded: Promise<{ library: Library; handler: McpHttpHandler }> | undefined;
  private stopUpdates = (): void => undefined;
  /** Requests being answered, but for the streams of listeners, which would never end by themselves. */
  private busy = 0;
  private readonly listeners = new CallerQuota(MAX_LISTENERS);

  constructor(
    private readonly methods: McpMethods,
    private readonly updates: ResourceUpdates,
  ) {}

  async handler(): Promise<McpHttpHandler> {
    return (await this.load()).handler;
  }

  /**
   * Whether the request is one of this era. What claims to be and is broken is this era's to refuse. It is what
   * `isLegacyRequest` decides by, without a Fetch API request to be made for it.
   */
  async takes({ method, headers, body }: FastifyRequest): Promise<boolean> {
    if (method !== 'POST') return false;
    const { library } = await this.load();
    // Node joins what was sent more than once.
    const { 'mcp-protocol-version': version, 'mcp-method': mcpMethod, 'mcp-name': name } = headers;
    const { kind } = library.classifyInboundRequest({
      httpMethod: method,
      ...(typeof version === 'string' && { protocolVersionHeader: version }),
      ...(typeof mcpMethod === 'string' && { mcpMethodHeader: mcpMethod }),
      ...(typeof name === 'string' && { mcpNameHeader: name }),
      body: body ?? null,
    });
    return kind !== 'legacy';
  }

  async handle({ raw, body }: FastifyRequest, reply: FastifyReply, principal: Principal): Promise<void> {
    const response = reply.hijack().raw;
    const gone = abortOnClose(response);
    const send = (answer: Response) => sendWebResponse(answer, response, { gone, actor: principal.actor });
    const release = this.begin(body, principal);
    if (!release) {
      const { limit, perCaller } = this.listeners;
      const message = `Too many streams of subscriptions/listen are open: ${limit} at once, ${perCaller} of one caller. Close some.`;
      await send(rpcErrorAnswer(idOf(body), INTERNAL_ERROR, message));
      return;
    }
    try {
      const authInfo = { token: '', clientId: principal.actor, scopes: [], extra: { principal } };
      const handler = await this.handler();
      await send(await handler.fetch(webRequest(raw, gone), { authInfo, parsedBody: body ?? null }));
    } finally {
      release();
    }
  }

  /** Returns what to do at the end of the request; undefined where the caller has too many streams already. */
  private begin(body: unknown, principal: Principal): (() => void) | undefined {
    const listens = (body as { method?: unknown } | null)?.method === 'subscriptions/listen';
    if (listens) return this.listeners.acquire(ownerOf(principal));
    this.busy += 1;
    return () => {
      this.busy -= 1;
    };
  }

  /** Answers under way get a moment to finish. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopUpdates();
    const until = Date.now() + DRAIN_MS;
    while (this.busy > 0 && Date.now() < until) await pause(25);
    const loaded = await this.loaded;
    await loaded?.handler.close();
  }

  private load(): Promise<{ library: Library; handler: McpHttpHandler }> {
    this.loaded ??= import('@modelcontextprotocol/server').then((library) => {
      const handler = library.createMcpHandler(
        (context) => this.create(library, principalOfContext(context)),
        {
          legacy: 'reject',
          maxSubscriptions: MAX_LISTENERS,
          onerror: (error) => this.logger.debug(error.message),
        },
      );
      this.stopUpdates = this.updates.listen((uris) => {
        for (const uri of uris) handler.notify.resourceUpdated(uri);
      });
      return { library, handler };
    });
    return this.loaded;
  }

  private create(library: Library, principal: Principal): Server {
    const { tools, caller, resources, prompts, completer } = this.methods;
    const server = new library.Server(SERVER_INFO, {
      capabilities: CAPABILITIES,
      instructions: INSTRUCTIONS,
    });
    // The two libraries write the type of a JSON Schema down differently; on the wire it is one.
    server.setRequestHandler('tools/list', () => ({ tools: tools.list(principal.readOnly) as Tool[] }));
    server.setRequestHandler('tools/call', ({ params }, context) =>
      caller.call(params.name, params.arguments, callerOf(context, principal)),
    );
    server.setRequestHandler('resources/list', () => ({ resources: resources.list() }));
    server.setRequestHandler('resources/templates/list', () => ({
      resourceTemplates: resources.templates(),
    }));
    server.setRequestHandler('resources/read', async ({ params }, context) => ({
      contents: [await resources.read(params.uri, callerOf(context, principal))],
    }));
    server.setRequestHandler('prompts/list', () => ({ prompts: prompts.list(principal.readOnly) }));
    server.setRequestHandler('prompts/get', ({ params }, context) =>
      prompts.get(params.name, params.arguments ?? {}, callerOf(context, principal)),
    );
    server.setRequestHandler('completion/complete', ({ params }) => completer.complete(params));
    return server;
  }
}

function callerOf(context: ServerContext, principal: Principal): Caller {
  const { signal, _meta, notify, log } = context.mcpReq;
  return {
    principal,
    signal,
    progress: progressSender(_meta?.progressToken, notify),
    // The library holds it to the level that the request itself names, and drops it where it names none.
    log: (level, data) => {
      log(level, data, SERVER_INFO.name).catch(() => undefined);
    },
    native: { era: '2026', context },
  };
}

function idOf(body: unknown): string | number | null {
  const id = (body as { id?: unknown } | null)?.id;
  return typeof id === 'string' || typeof id === 'number' ? id : null;
}

function principalOfContext({ authInfo }: McpRequestContext): Principal {
  const principal = authInfo?.extra?.['principal'] as Principal | undefined;
  if (!principal) throw new Error('invariant: the controller names who asks');
  return principal;
}
