import type { ConfigMessage } from '../config-messages.js';
import type { ConfigSection } from '../config-parser.js';

/** `map(FILE)`, `map_str(FILE,default)`, `map_beg_int(FILE)`, … (configuration manual, section 7.3.1). */
const MAP_FILE = /\bmap(?:_[a-z]+){0,2}\((?<file>[^,()]+)[,)]/g;
const PREFIX = /^(?:file|opt)@/;

/**
 * HAProxy loads a map once for each different text of its path, and the suite changes one of them. So a configuration
 * that names the same map file in two ways is refused: one of the two maps would keep its old content. Pure.
 *
 * @param isMap whether a path is the path of the map file
 */
export function pathRequirements(
  sections: readonly ConfigSection[],
  isMap: (path: string) => boolean,
): ConfigMessage[] {
  let first: { name: string; file: string; line: number } | undefined;
  const errors: ConfigMessage[] = [];
  for (const { file, lines } of sections) {
    for (const { line, words } of lines) {
      for (const { groups } of words.join(' ').matchAll(MAP_FILE)) {
        const name = groups?.['file']?.trim().replace(PREFIX, '') ?? '';
        // The value of an environment variable is not known here.
        if (name.includes('$') || name === first?.name || !isMap(name)) continue;
        if (first)
          errors.push({
            file,
            line,
            message: `The line names the map file ${name}, and ${first.file}:${first.line} names the same file ${first.name}. HAProxy keeps two maps for them, and changes reach only one. Write the same path in both lines.`,
          });
        first ??= { name, file, line };
      }
    }
  }
  return errors;
}
