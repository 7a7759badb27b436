import { AppError } from '../../errors/app-error.js';
import { isRefusal, type Reply, wordsOf } from './reply.js';
import type { PlannedCommand } from './step-commands.js';

/**
 * Every reply of a batch is looked at.
 *
 * @throws AppError haproxy_rejected, with HAProxy's words to the first command that it should not have refused
 */
export function checkReplies(sent: readonly PlannedCommand[], replies: readonly Reply[]): void {
  const refused: { line: string; words: string }[] = [];
  for (let index = 0; index < sent.length; index += 1) {
    const [planned, reply] = [sent[index], replies[index]];
    if (planned && reply && isBad(planned, reply))
      refused.push({ line: planned.command.line, words: wordsOf(reply) });
  }
  const [first] = refused;
  if (!first) return;
  const count = refused.length === 1 ? '' : ` (and ${refused.length - 1} more of ${sent.length} commands)`;
  throw new AppError(
    'haproxy_rejected',
    `HAProxy answered "${first.words}" to "${first.line.slice(0, 200)}"${count}. ` +
      'If the answer names something missing, see that HAProxy was started with the pools file and map file of the settings.',
  );
}

function isBad({ goodWarning, goodRefusal }: PlannedCommand, reply: Reply): boolean {
  return isRefusal(reply, goodWarning) && !goodRefusal?.test(reply.text);
}
