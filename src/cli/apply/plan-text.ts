import { visible } from '../../lib/safe-text.js';
import type { ApplyPlan, DomainChange, DomainView } from './plan.js';

/** The most domains that the text for people shows. */
const SHOWN = 200;
const OWN_POOL = 'a pool of its own';

const COLOURS = { '+': 32, '-': 31, '~': 33 } as const;
type Mark = keyof typeof COLOURS;

interface TextOptions {
  colour: boolean;
  /** What the files say with share_with, by domain. */
  sharesWith: ReadonlyMap<string, string>;
}

/** The plan as a diff for people. The servers of a pool are at the domain to which the files give them. */
export function planText(plan: ApplyPlan, { colour, sharesWith }: TextOptions): string {
  const marked = (mark: Mark, text: string) =>
    colour ? `\u001B[${COLOURS[mark]}m${mark} ${visible(text)}\u001B[0m` : `${mark} ${visible(text)}`;
  const entries = [
    ...plan.created.map((entry) => [
      marked('+', entry.domain),
      ...newLines(entry, sharesWith.get(entry.domain), marked),
    ]),
    ...plan.changed.map(({ also_changed: others, ...change }) => [
      marked('~', change.domain),
      ...changeLines(change, sharesWith.get(change.domain), marked),
      ...(others.length > 0
        ? [`    also for ${visible(others.slice(0, 5).join(', '))}${others.length > 5 ? ' and more' : ''}`]
        : []),
    ]),
    ...plan.removed.map(({ domain }) => [marked('-', domain)]),
  ];
  const lines = entries.slice(0, SHOWN).flat();
  if (entries.length > SHOWN) lines.push(`… and ${entries.length - SHOWN} more domains (--json shows all)`);
  return lines.map((line) => `${line}\n`).join('');
}

/** `1 to add, 2 to change, 0 to remove, 7 unchanged` */
export function countsText({ created, changed, removed, unchanged }: ApplyPlan): string {
  return `${created.length} to add, ${changed.length} to change, ${removed.length} to remove, ${unchanged} unchanged`;
}

type Marked = (mark: Mark, text: string) => string;

function newLines(view: DomainView, share: string | undefined, marked: Marked): string[] {
  const place = newPlaceOf(view, share);
  return [
    ...(place === undefined ? addedLines(serversOf(view), marked) : [`    ${visible(place)}`]),
    ...addedLines(marksOf(view), marked),
  ];
}

function changeLines(
  { before, after, moved }: Pick<DomainChange, 'before' | 'after' | 'moved'>,
  share: string | undefined,
  marked: Marked,
): string[] {
  const [old, fresh] = [serversOf(before), serversOf(after)];
  const [oldMarks, freshMarks] = [marksOf(before), marksOf(after)];
  const place = newPlaceOf(after, share);
  const removed = old.filter((server) => !fresh.includes(server));
  const added = moved && place !== undefined ? [] : fresh.filter((server) => !old.includes(server));
  return [
    ...(moved ? [`    ${visible(`${oldPlaceOf(before) ?? OWN_POOL} → ${place ?? OWN_POOL}`)}`] : []),
    ...removed.map((server) => `    ${marked('-', server)}`),
    ...addedLines(added, marked),
    ...missingIn(freshMarks, oldMarks).map((mark) => `    ${marked('-', mark)}`),
    ...addedLines(missingIn(oldMarks, freshMarks), marked),
  ];
}

function addedLines(servers: readonly string[], marked: Marked): string[] {
  return servers.map((server) => `    ${marked('+', server)}`);
}

function oldPlaceOf({ backend, shared_with: other }: DomainView): string | undefined {
  return backend === undefined ? sharing(other) : `backend ${backend}`;
}

/** Also a pool of its own can have other domains: those that say share_with. */
function newPlaceOf({ backend }: DomainView, share: string | undefined): string | undefined {
  return sharing(share) ?? (backend === undefined ? undefined : `backend ${backend}`);
}

function sharing(other: string | undefined): string | undefined {
  return other === undefined ? undefined : `shares the pool of ${other}`;
}

function marksOf({ labels, expires_at, site }: DomainView): string[] {
  const texts = Object.entries(labels ?? {}).map(([key, value]) => `label ${key}=${value}`);
  if (expires_at !== undefined) texts.push(`expires at ${expires_at}`);
  for (const [option, value] of Object.entries(site ?? {})) texts.push(`${option} ${JSON.stringify(value)}`);
  return texts;
}

/** The texts of `texts` that `present` does not have. */
function missingIn(present: readonly string[], texts: readonly string[]): string[] {
  return texts.filter((text) => !present.includes(text));
}

function serversOf({ servers }: DomainView): string[] {
  return servers.map(({ address, weight, state }) =>
    [address, weight === 1 ? '' : ` weight ${weight}`, state === 'ready' ? '' : ` ${state}`].join(''),
  );
}
