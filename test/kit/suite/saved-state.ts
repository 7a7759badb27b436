import { readFile } from 'node:fs/promises';
import { HaproxyRuntimeService } from '../../../src/haproxy/haproxy-runtime.service.js';
import { applyChange } from '../../../src/model/change/change.js';
import { orderedPools, sitesAfter } from '../../../src/model/change/state-delta.js';
import { Draft, State } from '../../../src/model/state.js';
import { StateHash } from '../../../src/model/change/state-hash.js';
import type { HistoryEntry } from '../../../src/storage/formats/history-entry.js';
import { parseState, renderState } from '../../../src/storage/formats/servers-json.js';
import { renderMap } from '../../../src/storage/formats/domains-map.js';
import { compareRouting } from '../../../src/reconciler/drift.js';
import { RoutingView } from '../../../src/reconciler/routing-view.js';
import { loadSettings } from '../../../src/settings/settings.js';
import type { Home } from './suite.js';

/** The state in `servers.json`. @throws StateFileError */
export async function savedState(home: Home): Promise<State> {
  const file = home.file('servers.json');
  return parseState(await readFile(file, 'utf8'), file).state;
}

/** The differences of the running HAProxy and of `domains.map` from `servers.json`; empty if there are none. */
export async function disagreements(home: Home): Promise<unknown[]> {
  const state = await savedState(home);
  const desired = state.routing();
  const settings = loadSettings(home.env);
  const runtime = new HaproxyRuntimeService(settings);
  const actual = new RoutingView(await runtime.readRouting(), desired).routing;
  const map = await readFile(settings.files.map, 'utf8');
  const sameMap = sortedLines(map) === sortedLines(renderMap(state.pools));
  return [...compareRouting(actual, desired), ...(sameMap ? [] : ['domains.map differs from servers.json'])];
}

/** What is wrong with the history: it must have each revision once, and together they must make `servers.json`. */
export async function historyProblems(home: Home): Promise<string[]> {
  const [saved, text] = await Promise.all([
    savedState(home),
    readFile(loadSettings(home.env).files.history, 'utf8'),
  ]);
  const state = new State(0);
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const entry = JSON.parse(line) as HistoryEntry;
    if (entry.revision !== state.revision + 1 || entry.unknown_since !== undefined)
      return [`history: ${line.slice(0, 200)} follows revision ${state.revision}`];
    const draft = new Draft(state);
    applyChange(draft, entry.change);
    state.apply(draft, entry.revision);
    if (entry.state !== StateHash.of(state).toString())
      return [`history: revision ${entry.revision} has the hash of another state`];
  }
  const same =
    renderState(saved.revision, orderedPools(saved), sitesAfter(saved)) ===
    renderState(state.revision, orderedPools(state), sitesAfter(state));
  return same
    ? []
    : [`history: it makes another state (${state.revision}) than servers.json (${saved.revision})`];
}

function sortedLines(text: string): string {
  return text.split('\n').toSorted().join('\n');
}
