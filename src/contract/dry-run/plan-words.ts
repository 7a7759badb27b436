import type { PlanStepDto } from './dry-run.dto.js';
import { serverAddress } from '../../model/server.js';
import type { Step } from '../../model/routing.js';
import type { FileDifference } from '../../storage/files/state-files.js';
import { domainOfMapKey } from '../../model/domain-name.js';
import { serverName } from '../../model/pool-name.js';

/** A step, and the one name of those that are added in one. */
type SingleStep = Exclude<Step, { op: 'add_domains' }> | { op: 'add_domain'; key: string; pool: string };

/** Steps in HAProxy as callers read them. */
export function describeSteps(steps: readonly Step[]): PlanStepDto[] {
  return steps.flatMap(singly).map((step) => {
    const name = nameOf(step);
    return { target: 'haproxy', action: step.op, name, text: `${name} ${wordsOf(step)}` };
  });
}

function singly(step: Step): SingleStep[] {
  if (step.op !== 'add_domains') return [step];
  return step.keys.map((key, index) => ({ op: 'add_domain', key, pool: step.pools[index] ?? '' }));
}

function nameOf(step: SingleStep): string {
  if ('key' in step) return domainOfMapKey(step.key);
  return 'slot' in step ? serverName(step.pool, step.slot) : step.pool;
}

function wordsOf(step: SingleStep): string {
  switch (step.op) {
    case 'add_pool':
      return 'is made';
    case 'remove_pool':
      return 'is deleted';
    case 'set_weight':
      return `gets weight ${step.weight}`;
    case 'set_state':
      return `becomes ${step.state}`;
    case 'remove_server':
      return 'is removed; requests under way finish';
    case 'add_domain':
      return `is routed to ${step.pool}`;
    case 'set_domain':
      return `is routed to ${step.pool} from now on`;
    case 'del_domain':
      return 'is not routed any more';
    default: {
      const { weight, state } = step.server;
      return `becomes ${serverAddress(step.server)}, weight ${weight}, ${state}`;
    }
  }
}

/** What writing `after` over `before` does to a file, or undefined where it does nothing. */
export function describeFile(path: string, before: string, after: string): PlanStepDto | undefined {
  if (before === after) return undefined;
  // Most of a large file stays as it is; only what lies between its equal ends is looked at line by line.
  const start = equalStart(before, after);
  const end = equalEnd(before, after, start);
  const old = before.slice(start, before.length - end).split('\n');
  const fresh = after.slice(start, after.length - end).split('\n');
  const added = countMissing(fresh, old);
  const removed = countMissing(old, fresh);
  return linesStep(path, added, removed);
}

/** Lines that come into a file and go out of it. */
export function linesStep(path: string, added: number, removed: number): PlanStepDto {
  return {
    target: 'file',
    action: 'write_file',
    name: path,
    text: `${path}: ${added} line(s) added, ${removed} removed`,
  };
}

/** What is done to files that do not hold what they should. */
export function describeRewrites(files: readonly FileDifference[]): PlanStepDto[] {
  return files.map(({ path, missing }) => fileStep(path, missing ? 'is made' : 'is written anew'));
}

/** A file that is written, whatever it holds. */
export function fileStep(path: string, words: string): PlanStepDto {
  return { target: 'file', action: 'write_file', name: path, text: `${path} ${words}` };
}

/** How many of the lines the others do not have, each counted as often as it stands there. */
function countMissing(lines: readonly string[], others: readonly string[]): number {
  const left = new Map<string, number>();
  for (const line of others) left.set(line, (left.get(line) ?? 0) + 1);
  let missing = 0;
  for (const line of lines) {
    const count = left.get(line) ?? 0;
    if (count === 0) missing += 1;
    else left.set(line, count - 1);
  }
  return missing;
}

const PIECE = 64 * 1024;

/** How long the part is with which both begin, up to the beginning of a line. */
function equalStart(one: string, other: string): number {
  const most = Math.min(one.length, other.length);
  let equal = 0;
  while (equal < most && one.slice(equal, equal + PIECE) === other.slice(equal, equal + PIECE))
    equal += PIECE;
  equal = Math.min(equal, most);
  while (equal < most && one.charCodeAt(equal) === other.charCodeAt(equal)) equal += 1;
  return equal === 0 ? 0 : one.lastIndexOf('\n', equal - 1) + 1;
}

/** How long the part is with which both end, not further than `start`, from the end of a line on. */
function equalEnd(one: string, other: string, start: number): number {
  const most = Math.min(one.length, other.length) - start;
  const piece = (text: string, equal: number) =>
    text.slice(Math.max(0, text.length - equal - PIECE), text.length - equal);
  let equal = 0;
  while (equal + PIECE <= most && piece(one, equal) === piece(other, equal)) equal += PIECE;
  while (
    equal < most &&
    one.charCodeAt(one.length - equal - 1) === other.charCodeAt(other.length - equal - 1)
  )
    equal += 1;
  const line = one.indexOf('\n', one.length - equal);
  return line < 0 ? 0 : one.length - line;
}
