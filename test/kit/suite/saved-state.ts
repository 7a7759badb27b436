import { readFile } from 'node:fs/promises';
import { HaproxyRuntimeService } from '../../../src/haproxy/haproxy-runtime.service.js';
import type { State } from '../../../src/model/state.js';
import { parseState } from '../../../src/storage/formats/servers-json.js';
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

function sortedLines(text: string): string {
  return text.split('\n').toSorted().join('\n');
}
