import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { HaproxyRuntimeService } from '../../../src/haproxy/haproxy-runtime.service.js';
import { applyChange } from '../../../src/model/change/change.js';
import { orderedPools, sitesAfter } from '../../../src/model/change/state-delta.js';
import { Draft } from '../../../src/model/draft.js';
import { State } from '../../../src/model/state.js';
import { StateHash } from '../../../src/model/change/state-hash.js';
import type { AuditLine } from '../../../src/storage/audit-log.js';
import { baseOf, replay } from '../../../src/storage/formats/journal-record.js';
import { parseJournal } from '../../../src/storage/state-journal.js';
import { activeLines } from '../../../src/storage/files/line-file.js';
import type { HistoryEntry } from '../../../src/storage/formats/history-entry.js';
import { parseState, renderState } from '../../../src/storage/formats/servers-json.js';
import { renderMap } from '../../../src/storage/formats/domains-map.js';
import { compareRouting } from '../../../src/reconciler/drift.js';
import { RoutingView } from '../../../src/reconciler/routing-view.js';
import { loadSettings } from '../../../src/settings/settings.js';
import type { Home } from './suite.js';

/** The state that a start would read: `servers.json` and the commits of its journal. @throws StateFileError */
export async function savedState(home: Home): Promise<State> {
  const { servers, journal } = loadSettings(home.env).files;
  const [text, records] = await Promise.all([readFile(servers, 'utf8'), textOf(journal)]);
  // A checkpoint between the two reads leaves a journal of another servers.json.
  if ((await readFile(servers, 'utf8')) !== text) return savedState(home);
  const { state } = parseState(text, servers);
  const parsed = parseJournal(records, journal);
  if (parsed?.base.sha256 === baseOf(state.revision, text).sha256)
    for (const record of parsed.records) replay(record, state);
  return state;
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
  const [saved, entries] = await Promise.all([savedState(home), historyOf(home)]);
  const state = new State(0);
  for (const entry of entries) {
    if (entry.revision !== state.revision + 1 || entry.unknown_since !== undefined)
      return [`history: ${JSON.stringify(entry).slice(0, 200)} follows revision ${state.revision}`];
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

/** The change of each revision that the history has, oldest first. */
export async function historyOf(home: Home): Promise<HistoryEntry[]> {
  return (await linesOf(loadSettings(home.env).files.history)).map(
    (line) => JSON.parse(line) as HistoryEntry,
  );
}

/** What is wrong with the audit log: without the lines of commits that a kill interrupted, it must have each revision once. */
export async function auditProblems(home: Home): Promise<string[]> {
  const audited: AuditLine[] = [];
  for (const text of await linesOf(loadSettings(home.env).files.audit)) {
    const line = JSON.parse(text) as AuditLine;
    // Such a line says at which revision the state is after a kill.
    if (line.operation === 'start')
      while ((audited.at(-1)?.revision_after ?? 0) > line.revision_after) audited.pop();
    else if (line.outcome === 'ok' && line.revision_after > line.revision_before) audited.push(line);
  }
  const found = audited.map(({ revision_after, operation, actor }) => [revision_after, operation, actor]);
  const expected = (await historyOf(home)).map(({ revision, operation, actor }) => [
    revision,
    operation,
    actor,
  ]);
  const differs = expected.findIndex((entry, index) => !isDeepStrictEqual(entry, found[index]));
  if (differs < 0 && found.length === expected.length) return [];
  const at = differs < 0 ? expected.length : differs;
  return [`audit: ${JSON.stringify(found[at])} where the history has ${JSON.stringify(expected[at])}`];
}

async function linesOf(path: string): Promise<string[]> {
  return (await textOf(path)).split('\n').filter((line) => line !== '');
}

/** Empty if there is no file. */
function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
}

/** Without the lines that a change in place has commented out. */
function sortedLines(text: string): string {
  return activeLines(text).toSorted().join('\n');
}
