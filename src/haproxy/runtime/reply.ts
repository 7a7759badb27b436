import { AppError } from '../../errors/app-error.js';
import type { Command } from './command.js';

/**
 * One reply of the Runtime API after `set severity-output number`:
 *
 *   [3]: No such backend.          an error
 *   [6]: New server registered.    an informational message
 *   0x7fb2… a.com pool_1           data, without a severity
 *   (empty)                        success without output
 */
export interface Reply {
  /** The syslog severity of a message, 0 to 7; undefined for data and for an empty reply. */
  readonly severity: number | undefined;
  /** The message or the data, without the severity and without blanks at the end. */
  readonly text: string;
}

/** A command, and which replies other than a plain success are accepted. */
export interface PlannedCommand {
  readonly command: Command;
  /** A warning ([4]) that matches means success; any other warning means that HAProxy rejected the command. */
  readonly successWarning?: RegExp;
  /** A rejection that matches is accepted. */
  readonly acceptedRejection?: RegExp;
}

const EMPTY: Reply = { severity: undefined, text: '' };
/** HAProxy 3.0 answers each line of a payload with this prompt before the reply itself. */
const PAYLOAD_PROMPTS = /^(?:\+ )+/;
const UNKNOWN_COMMAND = /^Unknown command\b/;
const WARNING = 4;

export function parseReply(raw: string, hasPayload = false): Reply {
  if (raw === '') return EMPTY;
  const body = hasPayload ? raw.replace(PAYLOAD_PROMPTS, '') : raw;
  const severity = severityOf(body);
  return { severity, text: (severity === undefined ? body : body.slice('[3]: '.length)).trimEnd() };
}

/** Uses no regular expression, because a restore reads thousands of replies. */
function severityOf(body: string): number | undefined {
  if (!body.startsWith('[') || !body.startsWith(']: ', 2)) return undefined;
  const level = body.charCodeAt(1) - '0'.charCodeAt(0);
  return level >= 0 && level <= 7 ? level : undefined;
}

/**
 * Whether HAProxy rejected the command. Most rejections have a severity below 4. There are two exceptions:
 * `Unknown command` is informational ([6]), and `set server … addr` answers with a warning ([4]) for both success and
 * failure. For the second, pass the warning that means success.
 */
export function isRejected(reply: Reply, successWarning?: RegExp): boolean {
  if (reply.severity === undefined) return false;
  if (reply.severity < WARNING) return true;
  if (reply.severity === WARNING) return !successWarning?.test(reply.text);
  return UNKNOWN_COMMAND.test(reply.text);
}

/** The first line of the text. After `Unknown command`, HAProxy prints its whole help. */
export function firstLineOf(reply: Reply): string {
  return reply.text.split('\n', 1)[0] ?? '';
}

/**
 * Checks every reply of a batch. The error quotes the first command that HAProxy rejected, and its reply.
 *
 * @throws AppError haproxy_rejected
 */
export function checkReplies(sent: readonly PlannedCommand[], replies: readonly Reply[]): void {
  const rejected: { line: string; answer: string }[] = [];
  for (let index = 0; index < sent.length; index += 1) {
    const [planned, reply] = [sent[index], replies[index]];
    if (planned && reply && isUnaccepted(planned, reply))
      rejected.push({ line: planned.command.line, answer: firstLineOf(reply) });
  }
  const [first] = rejected;
  if (!first) return;
  const more =
    rejected.length === 1 ? '' : ` It rejected ${rejected.length - 1} more of ${sent.length} commands.`;
  throw new AppError(
    'haproxy_rejected',
    `HAProxy answered "${first.answer}" to "${first.line.slice(0, 200)}".${more} ` +
      'If the answer says that something is missing, check that HAProxy was started with the pools file and the map file from the settings.',
  );
}

function isUnaccepted({ successWarning, acceptedRejection }: PlannedCommand, reply: Reply): boolean {
  return isRejected(reply, successWarning) && !acceptedRejection?.test(reply.text);
}
