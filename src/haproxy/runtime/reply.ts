/**
 * One answer of the Runtime API, after `set severity-output number`:
 *
 *   [3]: No such backend.          an error
 *   [6]: New server registered.    a message
 *   0x7fb2… a.com pool_1           data, without a level
 *   (nothing)                      done
 */
export interface Reply {
  /** The syslog level of a message; undefined for data and for nothing. */
  readonly severity: number | undefined;
  /** HAProxy's words or data, without the level and without blank lines at the end. */
  readonly text: string;
}

const NOTHING: Reply = { severity: undefined, text: '' };
/** Up to 3.0, each line of a payload is answered with this before the reply proper. */
const PAYLOAD_PROMPTS = /^(?:\+ )+/;
const UNKNOWN_COMMAND = /^Unknown command\b/;
const WARNING = 4;

export function parseReply(raw: string, toPayload = false): Reply {
  if (raw === '') return NOTHING;
  const body = toPayload ? raw.replace(PAYLOAD_PROMPTS, '') : raw;
  const severity = severityOf(body);
  return { severity, text: (severity === undefined ? body : body.slice('[3]: '.length)).trimEnd() };
}

/** Without a regular expression: a restore has thousands of replies. */
function severityOf(body: string): number | undefined {
  if (!body.startsWith('[') || !body.startsWith(']: ', 2)) return undefined;
  const level = body.charCodeAt(1) - '0'.charCodeAt(0);
  return level >= 0 && level <= 7 ? level : undefined;
}

/**
 * Whether HAProxy refused. `Unknown command` comes as information ([6]), and a refused `set server … addr` as a
 * warning ([4]) just as its success does, so that a caller who knows better passes what a good warning looks like.
 */
export function isRefusal(reply: Reply, goodWarning?: RegExp): boolean {
  if (reply.severity === undefined) return false;
  if (reply.severity < WARNING) return true;
  if (reply.severity === WARNING) return !goodWarning?.test(reply.text);
  return UNKNOWN_COMMAND.test(reply.text);
}

/** The first line of what HAProxy said: `Unknown command` is followed by its whole help. */
export function wordsOf(reply: Reply): string {
  return reply.text.split('\n', 1)[0] ?? '';
}
