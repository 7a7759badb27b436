/**
 * Texts for callers name an operation as `{haproxy_add_domain}`. The place where a text leaves the suite shows the name
 * that its reader can use: MCP the tool, REST the route, the log the tool, and the command line the command. One text
 * serves all of them.
 */
const PLACEHOLDER = /\{(haproxy_[a-z_]+)\}/g;

/** For MCP and the log: the names of tools. */
export function namingTools(text: string): string {
  return text.includes('{haproxy_') ? text.replace(PLACEHOLDER, '$1') : text;
}

/** As `namingTools`, for each text in a JSON value. */
export function namingToolsIn<T>(value: T): T {
  return JSON.parse(namingTools(JSON.stringify(value))) as T;
}

/** For REST: the routes, such as `GET /api/v1/domains`, by the name of their operation. Also for a text that is JSON. */
export function namingRoutes(text: string, routes: ReadonlyMap<string, string>): string {
  return text.includes('{haproxy_')
    ? text.replace(PLACEHOLDER, (_, name: string) => routes.get(name) ?? name)
    : text;
}

/** A route in an answer of REST. The characters of a path end before the punctuation of a sentence. */
const ROUTE = /\b(?:GET|PUT|POST|DELETE) \/api\/v1[\w/{}-]*/g;

/**
 * For people at a terminal: the commands, such as `haproxy-suite domains list`. `commands` has them by tool and by route,
 * because an answer of REST already names routes.
 */
export function namingCommands(text: string, commands: ReadonlyMap<string, string>): string {
  return text
    .replace(PLACEHOLDER, (_, name: string) => commands.get(name) ?? name)
    .replace(ROUTE, (route) => commands.get(route) ?? route);
}
