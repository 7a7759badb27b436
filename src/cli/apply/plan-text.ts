import type { ApplyPlan, DomainView } from './plan.js';

/** The most domains that the text for people shows. */
const SHOWN = 200;

const COLOURS = { '+': 32, '-': 31, '~': 33 } as const;
type Mark = keyof typeof COLOURS;

/** The plan as a diff for people. */
export function planText(plan: ApplyPlan, { colour }: { colour: boolean }): string {
  const marked = (mark: Mark, text: string) =>
    colour ? `\u001B[${COLOURS[mark]}m${mark} ${text}\u001B[0m` : `${mark} ${text}`;
  const entries = [
    ...plan.created.map((entry) => [marked('+', entry.domain), ...newLines(entry, marked)]),
    ...plan.changed.map(({ domain, before, after, also_changed: others }) => [
      marked('~', domain),
      ...changeLines(before, after, marked),
      ...(others.length > 0
        ? [`    also for ${others.slice(0, 5).join(', ')}${others.length > 5 ? ' and more' : ''}`]
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

function newLines(view: DomainView, marked: Marked): string[] {
  const place = placeOf(view);
  if (place !== undefined) return [`    ${place}`];
  return serversOf(view).map((server) => `    ${marked('+', server)}`);
}

function changeLines(before: DomainView, after: DomainView, marked: Marked): string[] {
  const [from, to] = [placeOf(before), placeOf(after)];
  const moved = from !== to ? [`    ${from ?? 'a pool of its own'} → ${to ?? 'a pool of its own'}`] : [];
  const [old, fresh] = [serversOf(before), serversOf(after)];
  return [
    ...moved,
    ...old.filter((server) => !fresh.includes(server)).map((server) => `    ${marked('-', server)}`),
    ...fresh.filter((server) => !old.includes(server)).map((server) => `    ${marked('+', server)}`),
  ];
}

function placeOf({ backend, shared_with: other }: DomainView): string | undefined {
  if (backend !== undefined) return `backend ${backend}`;
  return other === undefined ? undefined : `shares the pool of ${other}`;
}

function serversOf({ servers }: DomainView): string[] {
  return servers.map(({ address, weight, state }) =>
    [address, weight === 1 ? '' : ` weight ${weight}`, state === 'ready' ? '' : ` ${state}`].join(''),
  );
}
