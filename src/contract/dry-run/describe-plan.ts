import { describeRemovedEntries, describeSiteStep, isSiteStep } from './describe-sites.js';
import type { PlanStepDto } from './dry-run.dto.js';
import { domainOfMapKey } from '../../model/names/domain-name.js';
import { serverName } from '../../model/names/pool-name.js';
import type { Step } from '../../model/routing.js';
import { serverAddress } from '../../model/server.js';

/** A step that changes one domain, server or pool. */
type PlainStep = Exclude<
  Step,
  { op: 'add_site_entries' } | { op: 'set_site_entry' } | { op: 'del_site_entry' }
>;
type SingleStep = Exclude<PlainStep, { op: 'add_domains' }> | { op: 'add_domain'; key: string; pool: string };

/** How many domains of a shared pool a step names. */
const DOMAINS_SHOWN = 10;

/**
 * The steps in HAProxy, in the form that callers get. A step of a server names the domains of a shared pool, because it
 * affects all of them. `domainsOf` returns the domains of a pool after the change.
 */
export function describeSteps(
  steps: readonly Step[],
  domainsOf: (pool: string) => readonly string[] = () => [],
): PlanStepDto[] {
  const removed = steps.flatMap((step) => (step.op === 'del_site_entry' ? [step.entry] : []));
  return steps.flatMap((step) => {
    if (step.op === 'del_site_entry') return step.entry === removed[0] ? describeRemovedEntries(removed) : [];
    return isSiteStep(step) ? describeSiteStep(step) : describeStep(step, domainsOf);
  });
}

function describeStep(given: PlainStep, domainsOf: (pool: string) => readonly string[]): PlanStepDto[] {
  return singleSteps(given).map((step) => {
    const name = nameOf(step);
    const sharing = 'slot' in step ? sharedBy(domainsOf(step.pool)) : '';
    return { target: 'haproxy', action: step.op, name, text: `${name} ${effectOf(step)}${sharing}` };
  });
}

/** Empty if the pool is not shared. */
function sharedBy(domains: readonly string[]): string {
  if (domains.length < 2) return '';
  const more = domains.length - DOMAINS_SHOWN;
  const names = domains.slice(0, DOMAINS_SHOWN).join(', ');
  return ` (shared by ${names}${more > 0 ? ` and ${more} more` : ''})`;
}

function singleSteps(step: PlainStep): SingleStep[] {
  if (step.op !== 'add_domains') return [step];
  return step.keys.map((key, index) => ({ op: 'add_domain', key, pool: step.pools[index] ?? '' }));
}

function nameOf(step: SingleStep): string {
  if ('key' in step) return domainOfMapKey(step.key);
  return 'slot' in step ? serverName(step.pool, step.slot) : step.pool;
}

function effectOf(step: SingleStep): string {
  switch (step.op) {
    case 'add_pool':
      return 'is created';
    case 'remove_pool':
      return 'is deleted';
    case 'set_weight':
      return `gets weight ${step.weight}`;
    case 'set_state':
      return step.checkFirst ? 'becomes ready after its first passed check' : `becomes ${step.state}`;
    case 'remove_server':
      return 'is removed; its running requests finish';
    case 'add_domain':
      return `is routed to ${step.pool}`;
    case 'set_domain':
      return `is now routed to ${step.pool}`;
    case 'del_domain':
      return 'is no longer routed';
    default: {
      const { weight, state } = step.server;
      const when = step.checkFirst ? ' after its first passed check' : '';
      return `becomes ${serverAddress(step.server)}, weight ${weight}, ${state}${when}`;
    }
  }
}

/** The step that replaces the content `before` by `after`; undefined if both are equal. */
export function describeFile(path: string, before: string, after: string): PlanStepDto | undefined {
  if (before === after) return undefined;
  // Most of a large file does not change. Only the part between the equal ends is compared line by line.
  const start = equalStart(before, after);
  const end = equalEnd(before, after, start);
  const old = before.slice(start, before.length - end).split('\n');
  const fresh = after.slice(start, after.length - end).split('\n');
  const added = countMissing(fresh, old);
  const removed = countMissing(old, fresh);
  return linesStep(path, added, removed);
}

/** The step that adds and removes lines of a file. */
export function linesStep(path: string, added: number, removed: number): PlanStepDto {
  return {
    target: 'file',
    action: 'write_file',
    name: path,
    text: `${path}: ${added} line(s) added, ${removed} removed`,
  };
}

/** The step that loads the options of pools. */
export function reloadStep(pools: readonly string[]): PlanStepDto {
  const more = pools.length > 1 ? ` and ${pools.length - 1} more` : '';
  return {
    target: 'haproxy',
    action: 'reload',
    name: 'haproxy',
    text: `haproxy is reloaded, so that ${pools[0]}${more} gets its options; no request fails`,
  };
}

/** The steps that restore files whose content differs from the state. `missing`: the file does not exist. */
export function describeRewrites(files: readonly { path: string; missing: boolean }[]): PlanStepDto[] {
  return files.map(({ path, missing }) => fileStep(path, missing ? 'is created' : 'is rewritten'));
}

/** The step that writes a file. `effect` follows the path in its text. */
export function fileStep(path: string, effect: string): PlanStepDto {
  return { target: 'file', action: 'write_file', name: path, text: `${path} ${effect}` };
}

/** How many of `lines` are missing in `others`. A line that occurs n times must occur n times in `others`. */
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

/** The number of characters that are compared at once. */
const PIECE = 64 * 1024;

/** The length of the common start, in characters, cut back to the start of a line. */
function equalStart(one: string, other: string): number {
  const most = Math.min(one.length, other.length);
  let equal = 0;
  while (equal < most && one.slice(equal, equal + PIECE) === other.slice(equal, equal + PIECE))
    equal += PIECE;
  equal = Math.min(equal, most);
  while (equal < most && one.charCodeAt(equal) === other.charCodeAt(equal)) equal += 1;
  return equal === 0 ? 0 : one.lastIndexOf('\n', equal - 1) + 1;
}

/** The length of the common end, in characters, cut to whole lines. It does not overlap the first `start` characters. */
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
