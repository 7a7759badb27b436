/**
 * Texts for callers name an operation as `{haproxy_add_domain}`. The place where a text leaves the suite shows the name
 * that its reader can use: MCP the tool, REST the route, and the log the tool. One text serves all of them.
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
