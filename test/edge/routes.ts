import type { NestFastifyApplication } from '@nestjs/platform-fastify';

export interface Route {
  method: string;
  /** With its parameters as Fastify has them, such as `/api/v1/domains/:domain`. */
  url: string;
}

/** Every route that the application has, whoever registered it. */
export function routesOf(app: NestFastifyApplication): Route[] {
  const fastify = app.getHttpAdapter().getInstance();
  const parents: string[] = [];
  const routes: Route[] = [];
  for (const line of fastify.printRoutes({ commonPrefix: false }).split('\n')) {
    // `│   ├── /:domain (PUT, DELETE)`: four characters a level, then what the path goes on with, and its methods.
    const match = /^((?:[│ ] {3})*)[├└]── (\S*)(?: \((.+)\))?$/.exec(line);
    if (!match) continue;
    const [, indent = '', segment = '', methods = ''] = match;
    const depth = indent.length / 4;
    const url = (parents[depth - 1] ?? '') + segment;
    parents.splice(depth, parents.length, url);
    for (const method of methods.split(', ').filter((name) => name !== '')) {
      if (!fastify.hasRoute({ method: method as 'GET', url })) throw new Error(`read wrongly: ${line}`);
      routes.push({ method, url });
    }
  }
  return routes;
}
