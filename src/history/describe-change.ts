import { type Change, isSameOrAbsent } from '../model/change/change.js';
import { serverAddress, type ServerSpec } from '../model/server.js';

/** What a change does, in lines for people: `+` adds, `-` removes, `~` changes. Pure. */
export function describeChange({ pools, domains, servers, sites }: Change): string[] {
  return [
    // A pool that got other domains has all its domains and servers in the change.
    ...domains
      .filter(([, before, after]) => before !== after)
      .map(([domain, before, after]) => {
        if (before === null) return `+ ${domain} → ${after}`;
        return after === null ? `- ${domain} (was in ${before})` : `~ ${domain}: ${before} → ${after}`;
      }),
    ...servers
      .filter(([, , before, after]) => !isSameOrAbsent(before, after))
      .map(([pool, slot, before, after]) => {
        const name = `${pool}_${slot}`;
        if (before === null) return `+ ${name} ${after === null ? '' : describeServer(after)}`;
        if (after === null) return `- ${name} (was ${describeServer(before)})`;
        return `~ ${name}: ${describeServer(before)} → ${describeServer(after)}`;
      }),
    // A pool without options comes and goes with its domains.
    ...pools
      .filter(([, before, after]) => [before, after].some((one) => one?.options !== undefined))
      .map(([pool, before, after]) => changed(`options of ${pool}`, before?.options, after?.options)),
    ...sites.map(([host, before, after]) => changed(`options of ${host}`, before, after)),
  ];
}

function describeServer(server: ServerSpec): string {
  return `${serverAddress(server)} weight ${server.weight} ${server.state}`;
}

function changed(what: string, before: object | null | undefined, after: object | null | undefined): string {
  if (!before) return `+ ${what}: ${JSON.stringify(after)}`;
  return after
    ? `~ ${what}: ${JSON.stringify(before)} → ${JSON.stringify(after)}`
    : `- ${what} (were ${JSON.stringify(before)})`;
}
