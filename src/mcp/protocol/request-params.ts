import { findUnsafe } from '../../contract/input/input-shape.js';
import { INVALID_PARAMS, type RpcErrorMessage, rpcErrorMessage } from './json-rpc.js';

/** Returns what is wrong with the value at this path, or undefined. */
type Rule = (value: unknown, path: string) => string | undefined;

/** In ascending order of severity. */
export const LOG_LEVELS = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
] as const;

const text = is('a string', (value) => typeof value === 'string');
const anyObject = is('an object', isObject);
const progressToken = is(
  'a string or an integer',
  (value) => typeof value === 'string' || Number.isInteger(value),
);
const page = members({
  // The lists have one page, so no answer has a cursor (server/utilities/pagination).
  cursor: optional(is('absent, because the list has only one page', () => false)),
});
const named = { name: text, arguments: optional(toolArguments) };

/**
 * The parameters of each method, in every protocol revision (MCP schema). The libraries would answer an invalid one with
 * a dump of their schema checks, and some with the code of an internal error.
 */
const METHODS: ReadonlyMap<string, Rule> = new Map([
  [
    'initialize',
    members({
      protocolVersion: text,
      capabilities: anyObject,
      clientInfo: members({ name: text, version: text }),
    }),
  ],
  ['tools/list', page],
  ['tools/call', members(named)],
  ['resources/list', page],
  ['resources/templates/list', page],
  ['resources/read', members({ uri: text })],
  ['resources/subscribe', members({ uri: text })],
  ['resources/unsubscribe', members({ uri: text })],
  ['prompts/list', page],
  ['prompts/get', members({ ...named, arguments: optional(stringMembers) })],
  ['logging/setLevel', members({ level: oneOf(LOG_LEVELS) })],
  [
    'completion/complete',
    members({
      ref: reference,
      argument: members({ name: text, value: text }),
      context: optional(members({ arguments: optional(stringMembers) })),
    }),
  ],
  [
    'subscriptions/listen',
    members({ notifications: members({ resourceSubscriptions: optional(listOf(text)) }) }),
  ],
]);

/** Revision 2026-07-28 has no sessions and not these methods, so a request for one is -32601, whatever its parameters. */
const SESSION_METHODS: ReadonlySet<unknown> = new Set([
  'initialize',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
]);

/** As `invalidParamsError`, for a message of revision 2026-07-28. */
export function invalidStatelessParamsError(message: unknown): RpcErrorMessage | undefined {
  const isRemoved = isObject(message) && SESSION_METHODS.has(message['method']);
  return isRemoved ? undefined : invalidParamsError(message);
}

/** The -32602 error for a request with invalid parameters; undefined for any other message. */
export function invalidParamsError(message: unknown): RpcErrorMessage | undefined {
  if (!isObject(message)) return undefined;
  const { method, params, id } = message;
  const isRequest = typeof id === 'string' || typeof id === 'number';
  const rule = typeof method === 'string' ? METHODS.get(method) : undefined;
  if (!isRequest || typeof method !== 'string') return undefined;
  const problem = rule?.(params ?? {}, 'params') ?? metaProblem(params);
  if (problem === undefined) return undefined;
  return rpcErrorMessage(id, INVALID_PARAMS, `Invalid parameters of ${method}: ${problem}.`);
}

function metaProblem(params: unknown): string | undefined {
  const meta = isObject(params) ? params['_meta'] : undefined;
  return optional(members({ progressToken: optional(progressToken) }))(meta, 'params._meta');
}

/** What a completion is for: an argument of a prompt, or a variable of a resource template. */
function reference(value: unknown, path: string): string | undefined {
  const type = isObject(value) ? value['type'] : undefined;
  const known = members({ type: oneOf(['ref/prompt', 'ref/resource']) })(value, path);
  return known ?? members(type === 'ref/prompt' ? { name: text } : { uri: text })(value, path);
}

function members(rules: Readonly<Record<string, Rule>>): Rule {
  return (value, path) => {
    if (!isObject(value)) return wrong(value, path, 'an object');
    for (const [name, rule] of Object.entries(rules)) {
      const problem = rule(value[name], `${path}.${name}`);
      if (problem !== undefined) return problem;
    }
    return undefined;
  };
}

/** The libraries would drop a member called __proto__. The service refuses all other unknown names. */
function toolArguments(value: unknown, path: string): string | undefined {
  const unsafe = isObject(value) ? findUnsafe(value) : undefined;
  return unsafe?.path.includes('__proto__')
    ? `${path}.${unsafe.path} ${unsafe.message}`
    : anyObject(value, path);
}

function stringMembers(value: unknown, path: string): string | undefined {
  const names = isObject(value) ? Object.keys(value) : [];
  return members(Object.fromEntries(names.map((name) => [name, text])))(value, path);
}

function listOf(rule: Rule): Rule {
  return (value, path) => {
    if (!Array.isArray(value)) return wrong(value, path, 'a list');
    for (const [index, item] of value.entries()) {
      const problem = rule(item, `${path}[${index}]`);
      if (problem !== undefined) return problem;
    }
    return undefined;
  };
}

function oneOf(values: readonly string[]): Rule {
  return is(`one of ${values.join(', ')}`, (value) => typeof value === 'string' && values.includes(value));
}

function optional(rule: Rule): Rule {
  return (value, path) => (value === undefined ? undefined : rule(value, path));
}

function is(what: string, accepts: (value: unknown) => boolean): Rule {
  return (value, path) => (accepts(value) ? undefined : wrong(value, path, what));
}

function wrong(value: unknown, path: string, what: string): string {
  const shown = path.length > 100 ? `${path.slice(0, 100)}…` : path;
  return value === undefined ? `${shown} is missing, it must be ${what}` : `${shown} must be ${what}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
