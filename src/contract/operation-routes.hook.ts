import type { FastifyInstance } from 'fastify';
import { namingRoutes, namingTools } from '../errors/operation-names.js';
import type { DeclaredOperation } from './operation.js';

/** The path of MCP, whose answers name tools. */
const MCP_PATH = '/mcp';

/** Names the operations in the text of each response: as routes, or as tools on the path of MCP. */
export function installOperationRoutes(fastify: FastifyInstance): void {
  /** Operation → its route, such as `POST /api/v1/domains/{domain}/servers`. */
  const routes = new Map<string, string>();
  fastify.addHook('onRoute', ({ method, url, config }) => {
    const { operation } = (config ?? {}) as { operation?: DeclaredOperation };
    const verb = [method].flat()[0];
    if (!operation || verb === 'HEAD' || routes.has(operation.name)) return;
    routes.set(operation.name, `${verb} ${url.replaceAll(/:(\w+)/g, '{$1}')}`);
  });
  fastify.addHook('onSend', (request, _reply, payload, done) => {
    if (typeof payload !== 'string') done(null, payload);
    else if (request.routeOptions.url === MCP_PATH) done(null, namingTools(payload));
    else done(null, namingRoutes(payload, routes));
  });
}
