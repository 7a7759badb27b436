/**
 * An operation, as the command line needs it. `npm run build` writes all of them from the OpenAPI document into
 * dist/operations.json, so that a command starts without the classes that declare them.
 */
export interface CliOperation {
  /** The words of the command, such as `domains add`. */
  command: string;
  /** The name of the MCP tool, which texts of the suite use in `{haproxy_x}`. */
  tool: string;
  method: string;
  /** The path of the route, such as `/api/v1/domains/{domain}`. */
  path: string;
  title: string;
  description: string;
  fields: CliField[];
  /** The body is content instead of fields: its media types. The command sends a file. */
  content?: string[];
  /** The values of a call that works as it stands, by field. */
  example: Record<string, unknown>;
  /** The result that a caller hopes for: the value of a field, or a list of values. */
  wanted?: Record<string, unknown>;
  /** The domain is not healthy at once: `--wait` waits until it is. */
  becomesHealthy?: true;
}

export interface CliField {
  name: string;
  in: 'path' | 'query' | 'body' | 'header';
  type: 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'array';
  required: boolean;
  description: string;
  enum?: string[];
  default?: unknown;
  /** The value must not be seen in the list of processes: the command reads it from a file. */
  secret?: true;
  /** The fields of the objects in a list. */
  items?: CliField[];
  /** An object of any keys, with texts as values. */
  pairs?: true;
}

/** The field by which an operation runs in the background (202) or answers at its end. */
export const WAIT_FIELD = 'wait';
export const DRY_RUN_FIELD = 'dry_run';
/** The header `If-Match`, under the name that its argument has in the other interfaces. */
export const IF_MATCH_FIELD = 'if_match';
/** The fields of a list that has pages. */
export const CURSOR_FIELD = 'cursor';
export const LIMIT_FIELD = 'limit';

export function fieldOf(operation: CliOperation, name: string): CliField | undefined {
  return operation.fields.find((field) => field.name === name);
}
