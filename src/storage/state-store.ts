import { Injectable } from '@nestjs/common';
import type { PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { Settings } from '../settings/settings.js';
import { mapHolds, mapLinesOf, renderMap } from './formats/domains-map.js';
import { UnexpectedContentError } from './files/in-place.js';
import { MarkedLines } from './files/marked-lines.js';
import { describeFile, linesStep } from '../contract/dry-run/describe-plan.js';
import { preparedInOrder, putInPlace, type Prepared } from './files/prepared.js';
import type { RoutingTarget } from '../persistence/routing-target.js';
import {
  holdsSections,
  joined,
  laidOut,
  type Layout,
  type Section,
  SectionFile,
} from './files/section-file.js';
import { poolsThatChange, poolsWith } from '../model/state-delta.js';
import {
  exactly,
  type FileCheck,
  type FileDifference,
  StateFiles,
  type FileText,
  type Wanted,
} from './files/state-files.js';
import { StateJournal } from './state-journal.js';
import { parseState, renderState } from './formats/servers-json.js';
import { baseOf, recordOf } from './formats/journal-record.js';
import { type Pool, State, type StateDelta } from '../model/state.js';

/** A change of more names than this is written as a whole all the same; so is one that takes out more lines. */
const MOST_NAMES = 100;
const MOST_OUTDATED = 32;

type PoolsRenderer = Pick<RoutingTarget, 'renderPools' | 'renderPool'>;

/** Everything as a whole. Of a large state, `pools.cfg` has room in it for what comes next. */
interface Rendering {
  files: readonly FileText[];
  layout: Layout | undefined;
}

/**
 * The state on disk: `servers.json`, which is the commit point, and `domains.map` and `pools.cfg`, which HAProxy
 * reads. They are complete whenever a commit is. Small ones are written anew as a whole; of a large state a commit
 * writes only what it changes: a record into the journal beside `servers.json`, lines into `domains.map`, and pools in
 * `pools.cfg` (docs/adr/0007-journal-for-large-states.md).
 */
@Injectable()
export class StateStore {
  readonly #paths: Settings['files'];
  readonly #journalFromBytes: number;
  readonly #files = new StateFiles();
  readonly #map: MarkedLines;
  readonly #pools: SectionFile;
  readonly #journal: StateJournal;

  /** A file was not as it was left, or what a commit wrote could not be taken back from the disk. */
  #mustBeWhole = false;
  #target: PoolsRenderer | undefined;

  constructor({ files, journalFromBytes }: Settings) {
    this.#paths = files;
    this.#journalFromBytes = journalFromBytes;
    this.#map = new MarkedLines(files.map);
    this.#pools = new SectionFile(files.pools);
    this.#journal = new StateJournal(files.journal);
  }

  bindTarget(target: PoolsRenderer): void {
    this.#target = target;
  }

  /** Commits that only the journal has, so that `servers.json` is older than the state. */
  get behind(): number {
    return this.#journal.records;
  }

  /**
   * Reads the state; undefined where there is no `servers.json`.
   *
   * @throws StateFileError, or the error of the file system
   */
  async open(): Promise<State | undefined> {
    const { servers, journal, map, pools } = this.#paths;
    await this.#files.prepareFolders([servers, journal, map, pools]);
    const text = await this.#files.read(servers);
    for (const path of [map, pools]) await this.#files.read(path);
    if (text === undefined) {
      await this.#journal.refuseAlone();
      return undefined;
    }
    const state = parseState(text, servers);
    await this.#journal.replayOnto(state, baseOf(state.revision, text));
    return state;
  }

  /** Makes a change ready to be committed. Call it with one change at a time. @throws the error of the file system */
  async prepare(change: StateDelta, before: State, revision: number): Promise<Prepared> {
    try {
      if (this.#appends(change, before)) return await this.#append(change, before, revision);
    } catch (error) {
      if (!(error instanceof UnexpectedContentError)) throw error;
      this.#mustBeWhole = true;
    }
    return this.#whole(this.#render(before, revision, change));
  }

  /** What `commit` of it would write. */
  describe(change: StateDelta, before: State): PlanStepDto[] {
    const { journal, map, pools } = this.#paths;
    if (!this.#appends(change, before)) {
      const { files } = this.#render(before, before.revision + 1, change);
      return files.flatMap(({ path, text }) => describeFile(path, this.#files.held(path) ?? '', text) ?? []);
    }
    const names = poolsThatChange(change, before);
    const textOf = (poolOf: (name: string) => Pool | undefined) =>
      names.map((name) => this.#renderer.renderPool(name, poolOf(name)?.servers)).join('');
    const ofPools = describeFile(
      pools,
      textOf((name) => before.pool(name)),
      textOf((name) => change.pools.get(name)),
    );
    const { added, outdated } = mapLinesOf(change, before);
    const ofMap =
      added.length + outdated.length > 0 ? linesStep(map, added.length, outdated.length) : undefined;
    return [ofPools, ofMap, linesStep(journal, 1, 0)].filter((step) => step !== undefined);
  }

  /** Writes everything as a whole, and ends the journal. @throws the error of the file system */
  async checkpoint(state: State): Promise<void> {
    await putInPlace(await this.#whole(this.#render(state, state.revision)));
  }

  /** Begins the journal of a large state, for which the next change would have to wait. Where it fails, that tries again. */
  async beginAhead(state: State): Promise<void> {
    const text = this.#files.held(this.#paths.servers);
    if (text === undefined || !this.#isLarge(text) || this.#journal.begun) return;
    await this.#begin(state).catch(() => undefined);
  }

  /** Takes a journal away that was begun for nothing; not one that somebody has put there to start from. */
  endEmptyJournal(): void {
    if (this.behind === 0 && this.#journal.check() === 'ok') this.#journal.end();
  }

  /** The files that do not hold what the state says. */
  async differences(state: State): Promise<FileDifference[]> {
    const different: FileDifference[] = [];
    const add = (path: string, found: FileCheck) => {
      if (found !== 'ok') different.push({ path, missing: found === 'missing' });
    };
    for (const [path, wanted] of this.#expectations(state)) add(path, await this.#files.check(path, wanted));
    if (this.#journal.begun) add(this.#paths.journal, this.#journal.check());
    return different;
  }

  /** Writes those of the files anew. @throws the error of the file system */
  async rewrite(state: State, paths: ReadonlySet<string>): Promise<void> {
    const { servers, journal } = this.#paths;
    for (const path of paths) if (path !== journal) await this.#files.read(path);
    if (this.#journal.begun && (paths.has(servers) || paths.has(journal))) {
      await this.checkpoint(state);
      return;
    }
    const { files } = this.#render(state, state.revision);
    await putInPlace(this.#files.prepare(files.filter(({ path }) => paths.has(path))));
  }

  /** Keeps what is in the files under another name, where it is not what the state says. */
  async keepOthers(state: State, suffix: string): Promise<void> {
    for (const { path, text } of this.#render(state, state.revision).files) {
      const before = await this.#files.read(path);
      if (before && before !== text) await writeFileAtomic(`${path}${suffix}`, before);
    }
  }

  /** What `domains.map` held when it was read; undefined where there was none. */
  get mapText(): string | undefined {
    return this.#files.held(this.#paths.map);
  }

  #appends(change: StateDelta, before: State): boolean {
    const text = this.#files.held(this.#paths.servers);
    if (this.#mustBeWhole || text === undefined || !this.#isLarge(text)) return false;
    if (change.domains.size > MOST_NAMES) return false;
    return mapLinesOf(change, before).outdated.length <= MOST_OUTDATED;
  }

  async #append(change: StateDelta, before: State, revision: number): Promise<Prepared> {
    if (!this.#journal.begun) await this.#begin(before);
    else if (this.behind === 0) await this.#mustBeAsLeft(this.#paths.servers);
    const { added, outdated } = mapLinesOf(change, before);
    const parts: (() => Prepared)[] = [];
    const pools = poolsThatChange(change, before).map((name): Section => [
      name,
      this.#renderer.renderPool(name, change.pools.get(name)?.servers),
    ]);
    if (pools.length > 0) parts.push(() => this.#pools.prepare(pools));
    if (added.length + outdated.length > 0) parts.push(() => this.#map.prepare(added, outdated));
    // The commit point comes last: what is derived from it is in place before it counts.
    parts.push(() => this.#journal.prepare(recordOf(change, before, revision)));
    const prepared = await preparedInOrder(parts);
    return {
      durable: prepared.durable,
      commit: () =>
        prepared.commit().catch(async (error: unknown) => {
          await this.#putBack(before);
          throw error;
        }),
      discard: () =>
        prepared.discard().catch(async (error: unknown) => {
          await this.#putBack(before);
          if (this.#mustBeWhole) throw error;
        }),
    };
  }

  /** After half a commit: each file as it was, as far as the disk lets it; drift names what is left. */
  async #putBack(before: State): Promise<void> {
    const { servers, map, pools } = this.#paths;
    for (const path of [pools, map, servers])
      await this.rewrite(before, new Set([path])).catch(() => {
        // What cannot be put right now is written anew with the next commit, and so is everything with it.
        this.#mustBeWhole = true;
      });
  }

  /** The journal goes on from the `servers.json` that is there, or from none. @throws UnexpectedContentError */
  async #begin(before: State): Promise<void> {
    const { servers } = this.#paths;
    await this.#mustBeAsLeft(servers);
    await this.#journal.begin(baseOf(before.revision, this.#files.held(servers) ?? ''));
  }

  /** @throws UnexpectedContentError where somebody has edited it */
  async #mustBeAsLeft(path: string): Promise<void> {
    if ((await this.#files.check(path, exactly(this.#files.held(path) ?? ''))) === 'ok') return;
    await this.#files.read(path);
    throw new UnexpectedContentError(`${path} is not as it was left`);
  }

  async #whole({ files, layout }: Rendering): Promise<Prepared> {
    const { map, pools } = this.#paths;
    // They were written into since they were last read or written whole.
    const isKnown = !this.#journal.begun && !this.#mustBeWhole;
    if (!isKnown) await this.#files.read(map);
    if (!isKnown || (layout && !this.#pools.isAsLeft)) await this.#files.read(pools);
    const prepared = this.#files.prepare(files);
    return {
      durable: prepared.durable,
      commit: async () => {
        await prepared.commit();
        this.#pools.wasWritten(layout);
        this.#journal.end();
        this.#mustBeWhole = false;
      },
      discard: () => prepared.discard(),
    };
  }

  /** Only `pools.cfg` depends on more than the revision; the others are rendered where a file has to be read. */
  #expectations(state: State): [path: string, wanted: Wanted][] {
    const { servers, map, pools } = this.#paths;
    const ordered = poolsWith(undefined, state);
    const { begun } = this.#journal;
    const is = state.revision;
    const sectioned = this.#renderer.renderPools(ordered);
    const holdsPools = (text: string) => holdsSections(text, sectioned);
    const holdsMap = (text: string) => (begun ? mapHolds(text, state) : text === renderMap(ordered));
    const snapshot = exactly(this.#files.held(servers) ?? '');
    return [
      [pools, { is: joined(sectioned), holds: holdsPools }],
      [map, { is, holds: holdsMap }],
      [servers, begun ? snapshot : { is, holds: (text) => text === renderState(is, ordered) }],
    ];
  }

  /** The commit point comes last: what is derived from it is in place before it counts. */
  #render(before: State, revision: number, change?: StateDelta): Rendering {
    const { servers, map, pools } = this.#paths;
    const ordered = poolsWith(change, before);
    const text = renderState(revision, ordered);
    const sectioned = this.#renderer.renderPools(ordered);
    const layout = this.#isLarge(text) ? laidOut(sectioned) : undefined;
    return {
      files: [
        { path: pools, text: layout?.text ?? joined(sectioned) },
        { path: map, text: renderMap(ordered) },
        { path: servers, text },
      ],
      layout,
    };
  }

  /** Whether a `servers.json` with this text is changed by way of the journal. */
  #isLarge(text: string): boolean {
    return text.length >= this.#journalFromBytes;
  }

  get #renderer(): PoolsRenderer {
    if (!this.#target) throw new Error('StateStore does not know yet how pools are written');
    return this.#target;
  }
}
