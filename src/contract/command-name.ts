/**
 * The command of an operation whose declaration names none: the noun in the plural, then the verb and what follows the
 * noun. `haproxy_add_domain` → `domains add`, `haproxy_set_server_weight` → `servers set-weight`. A name of one word is
 * the command itself: `haproxy_health` → `health`.
 */
export function commandOf(operation: string): string {
  const [verb = '', noun, ...rest] = operation.replace(/^haproxy_/, '').split('_');
  if (noun === undefined) return verb;
  return `${noun.endsWith('s') ? noun : `${noun}s`} ${[verb, ...rest].join('-')}`;
}
