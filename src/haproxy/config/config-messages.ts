/** One error or warning of HAProxy about its configuration. */
export interface ConfigMessage {
  /** Null if HAProxy names no file. */
  file: string | null;
  /** Null if HAProxy names no line. */
  line: number | null;
  message: string;
}

export interface ConfigMessages {
  errors: ConfigMessage[];
  warnings: ConfigMessage[];
}

/** Lines that only summarize the other messages, or say which servers `down-servers.state` sets DOWN. */
const SUMMARY =
  /changed from server-state after a reload|^(?:Error\(s\) found in configuration file|Fatal errors found in configuration|Warnings were found)/;

/**
 * Parses the output of `haproxy -c` or the start-up log of a reload. Pure.
 *
 *   [NOTICE]   (2410) : haproxy version is 3.0.11-1+deb13u4
 *   [ALERT]    (2410) : config : parsing [/etc/haproxy.cfg:5] : unknown keyword 'foo' in 'frontend' section
 *   [ALERT]    (2410) : config : [/etc/haproxy.cfg:9] : 'server b/s' : unknown keyword 'chek'
 *   [WARNING]  (2423) : missing timeouts for frontend 'f'.
 *      | While not properly invalid, you will certainly encounter various problems
 *   [ALERT]    (2410) : config : Error(s) found in configuration file : /etc/haproxy.cfg
 */
export function parseConfigMessages(output: string): ConfigMessages {
  const found: ConfigMessages = { errors: [], warnings: [] };
  let last: ConfigMessage | undefined;
  for (const line of output.split('\n')) {
    const head = /^\[(?<level>[A-Z]+)\]\s+\(\d+\) : (?:config : )?(?<text>.*)$/.exec(line)?.groups;
    if (!head) {
      const continuation = /^\s+\| ?(?<text>.*)$/.exec(line)?.groups?.['text'];
      if (last && continuation) last.message += ` ${continuation.trim()}`;
      continue;
    }
    const list = listFor(found, head['level'] ?? '');
    last = list && parseMessage(head['text'] ?? '');
    if (list && last && !SUMMARY.test(last.message)) list.push(last);
  }
  return found;
}

function listFor(found: ConfigMessages, level: string): ConfigMessage[] | undefined {
  if (level === 'ALERT' || level === 'EMERG' || level === 'ERROR') return found.errors;
  return level === 'WARNING' ? found.warnings : undefined;
}

function parseMessage(text: string): ConfigMessage {
  const at = /^(?:parsing )?\[(?<file>[^\]]*):(?<line>\d+)\] ?: (?<message>.*)$/.exec(text)?.groups;
  if (at) return { file: at['file'] ?? null, line: Number(at['line']), message: at['message'] ?? '' };
  return { file: null, line: null, message: text };
}
