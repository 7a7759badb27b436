import type { NestFastifyApplication } from '@nestjs/platform-fastify';

export interface Route {
  method: string;
  /** With parameters in Fastify's form, such as `/api/v1/domains/:domain`. */
  url: string;
}

/** All routes of the application, including those of Swagger and MCP. */
export function routesOf(app: NestFastifyApplication): Route[] {
  const fastify = app.getHttpAdapter().getInstance();
  const parents: string[] = [];
  const routes: Route[] = [];
  for (const line of fastify.printRoutes({ commonPrefix: false }).split('\n')) {
    // `│   ├── /:domain (PUT, DELETE)`: four characters per level, then the path segment and its methods.
    const match = /^((?:[│ ] {3})*)[├└]── (\S*)(?: \((.+)\))?$/.exec(line);
    if (!match) continue;
    const [, indent = '', segment = '', methods = ''] = match;
    const depth = indent.length / 4;
    const url = (parents[depth - 1] ?? '') + segment;
    parents.splice(depth, parents.length, url);
    for (const method of methods.split(', ').filter((name) => name !== '')) {
      if (!fastify.hasRoute({ method: method as 'GET', url }))
        throw new Error(`cannot parse the route: ${line}`);
      routes.push({ method, url });
    }
  }
  return routes;
}
