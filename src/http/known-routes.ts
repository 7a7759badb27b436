import type { FastifyInstance } from 'fastify';

interface KnownRoute {
  segments: readonly string[];
  methods: readonly string[];
}

/** The methods of each path, for the answer to another method. Fastify finds a route only by path and method together. */
export class KnownRoutes {
  readonly #routes: KnownRoute[] = [];

  /** `url` in Fastify's form: `/api/v1/domains/:domain`, `/docs/*`. */
  add(url: string, methods: readonly string[]): void {
    this.#routes.push({ segments: url.split('/'), methods });
  }

  /** The methods that the path has, sorted; none for an unknown path. */
  methodsOf(path: string): string[] {
    const segments = decoded(path).split('/');
    const found = this.#routes.filter((route) => matches(route.segments, segments));
    return [...new Set(found.flatMap(({ methods }) => methods))].toSorted();
  }
}

/** Collects the routes that are registered after this call. */
export function collectRoutes(fastify: FastifyInstance): KnownRoutes {
  const routes = new KnownRoutes();
  fastify.addHook('onRoute', ({ url, method }) => routes.add(url, [method].flat()));
  return routes;
}

function matches(route: readonly string[], path: readonly string[]): boolean {
  if (route.at(-1) === '*') return path.length >= route.length && route.slice(0, -1).every(isAt(path));
  return path.length === route.length && route.every(isAt(path));
}

function isAt(path: readonly string[]): (segment: string, index: number) => boolean {
  return (segment, index) => (segment.startsWith(':') ? path[index] !== '' : segment === path[index]);
}

/** `decodeURI` keeps an encoded slash, which does not separate segments. Fastify compares paths in this form too. */
function decoded(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}
