import { Injectable } from '@nestjs/common';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  CallToolRequestSchema,
  ListToolsRequestSchema,
  type ServerNotification,
} from '@modelcontextprotocol/sdk/types.js';
import type { Principal } from '../access/principal.js';
import type { CallContext } from '../common/call-context.js';
import { VERSION } from '../common/product.js';
import { ToolCaller } from './tool-caller.js';
import { ToolRegistry } from './tool-registry.js';

const INSTRUCTIONS =
  'Controls a running HAProxy: a domain (Host header) is routed to a pool, a pool holds servers in numbered slots. ' +
  'Changes are live at once, without a reload, and survive restarts. Start with haproxy_list_domains; add with ' +
  'haproxy_add_domain, then haproxy_add_server. Before removing a busy server set its state to drain and call ' +
  'haproxy_wait_drain. An error says what to do next in its detail.';

/** Makes the protocol side of one session. */
@Injectable()
export class McpServerFactory {
  constructor(
    private readonly registry: ToolRegistry,
    private readonly caller: ToolCaller,
  ) {}

  create(principal: Principal): Server {
    const server = new Server(
      { name: 'haproxy-suite', title: 'HAProxy Suite', version: VERSION },
      { capabilities: { tools: {} }, instructions: INSTRUCTIONS },
    );
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: this.registry.list(principal.readOnly),
    }));
    server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => {
      const token = params._meta?.progressToken;
      const progress = token === undefined ? () => undefined : progressSender(token, extra.sendNotification);
      return this.caller.call(params.name, params.arguments, { principal, signal: extra.signal, progress });
    });
    return server;
  }
}

/** Progress has to grow from one notification to the next (MCP, utilities/progress). */
function progressSender(
  progressToken: string | number,
  send: (notification: ServerNotification) => Promise<void>,
): CallContext['progress'] {
  let last = Number.NEGATIVE_INFINITY;
  return (progress, total, message) => {
    if (progress <= last) return;
    last = progress;
    const params = { progressToken, progress, message, ...(total !== undefined && { total }) };
    // A client that has gone needs no progress; the call itself finds out by its signal.
    send({ method: 'notifications/progress', params }).catch(() => undefined);
  };
}
