import { namingCommands } from '../errors/operation-names.js';
import { loadOperations } from './operations/load-operations.js';
import type { CliOperation } from './operations/operation.js';

/** `haproxy-suite domains list` by the name of the tool and by the route. */
export function commandNames(operations: readonly CliOperation[]): ReadonlyMap<string, string> {
  return new Map(
    operations.flatMap(({ tool, method, path, command }): [string, string][] => [
      [tool, `haproxy-suite ${command}`],
      [`${method} ${path}`, `haproxy-suite ${command}`],
    ]),
  );
}

/** A text that names operations, with commands. For commands that are not operations: it loads the operations if it must. */
export function withCommands(text: string): string {
  return /\{haproxy_|\/api\/v1\b/.test(text) ? namingCommands(text, commandNames(loadOperations())) : text;
}
