import { existsSync, readFileSync } from 'node:fs';
import { Inject, Injectable } from '@nestjs/common';
import type { PlanStepDto } from '../contract/dry-run/dry-run.dto.js';
import { describeFile, linesStep } from '../contract/dry-run/describe-plan.js';
import { optionsTag } from '../haproxy/config/pool-options.js';
import { writeFileAtomic } from '../lib/atomic-file.js';
import { orderedPools, poolsWithChangedServers, sitesAfter } from '../model/change/state-delta.js';
import { domainOfMapKey } from '../model/names/domain-name.js';
import {
  allSiteRecords,
  isSameRecord,
  SITE_MAPS,
  siteRecord,
  siteRecordsOf,
} from '../model/sites/site-maps.js';
import type { Pool, State, StateDelta } from '../model/state.js';
import { Settings } from '../settings/settings.js';
import { DownServersFile } from './down-servers-file.js';
import { LineFile } from './files/line-file.js';
import {
  hasSections,
  type PaddedText,
  renderCompact,
  renderPadded,
  type Section,
  SectionFile,
} from './files/section-file.js';
import {
  allDurable,
  commitWhenDurable,
  type StagedWrite,
  stageInOrder,
  UnexpectedContentError,
} from './files/staged-write.js';
import {
  exactly,
  type ExpectedContent,
  type FileCheck,
  type FileDifference,
  type FileText,
  StateFiles,
} from './files/state-files.js';
import {
  type KeptEntries,
  mapLinesOf,
  mapMatches,
  NO_KEPT_ENTRIES,
  renderMap,
} from './formats/domains-map.js';
import { baseOf, recordOf } from './formats/journal-record.js';
import { PoolsFile } from './formats/pools-cfg.js';
import { hasStateVersion, parseState, renderState, STATE_VERSION } from './formats/servers-json.js';
import { renderSiteMaps } from './formats/site-maps.js';
import { StateJournal } from './state-journal.js';

/** A commit that changes more domains, or removes more lines of `domains.map`, rewrites the files. */
const MAX_JOURNALED_DOMAINS = 100;
const MAX_REMOVED_MAP_LINES = 32;

/** The text of all files. */
interface RenderedFiles {
  /** In the order in which they are renamed; the commit point is last. */
  files: readonly FileText[];
  /** `pools.cfg` with reserved space, if the state is large. */
  pools: PaddedText | undefined;
}

/** A commit whose derived files HAProxy loads before the commit. */
export interface StagedReload extends StagedWrite {
  /** Puts `pools.cfg` and `domains.map` in place. If it fails, the files are as before. Call it when they are durable. */
  useDerived(): Promise<void>;
}

/**
 * The state on disk: `servers.json`, which is the source of truth, and `domains.map`, the maps of the site options and
 * `pools.cfg`, which HAProxy reads.
 * A commit to a small state rewrites the files. A commit to a large state writes only what it changes: a record into the
 * journal, lines of `domains.map` and sections of `pools.cfg` (docs/adr/0007-journal-for-large-states.md). The maps of the
 * site options are always rewritten, because few commits change them, and a commit that adds a name with options rewrites all
 * files.
 */
@Injectable()
export class StateStore {
  readonly #paths: Settings['files'];
  readonly #journalFromBytes: number;
  readonly #files = new StateFiles();
  readonly #map: LineFile;
  readonly #pools: SectionFile;
  readonly #journal: StateJournal;
  readonly downServers: DownServersFile;

  /** The next commit rewrites all files: a file was modified by another process, or a write could not be undone. */
  #needsRewrite = false;
  #kept: KeptEntries = NO_KEPT_ENTRIES;

  constructor(
    { files, journalFromBytes }: Settings,
    @Inject(PoolsFile) private readonly poolsFile: Pick<PoolsFile, 'refresh' | 'renderPools' | 'renderPool'>,
  ) {
    this.#paths = files;
    this.#journalFromBytes = journalFromBytes;
    this.#map = new LineFile(files.map);
    this.#pools = new SectionFile(files.pools);
    this.#journal = new StateJournal(files.journal);
    this.downServers = new DownServersFile(files.downServers);
  }

  /** Commits that are in the journal but not in `servers.json`; `checkpoint` brings this to 0. */
  get pendingRecords(): number {
    return this.#journal.recordCount;
  }

  /** The text of `domains.map` when it was last read or written whole; undefined if there was none. */
  get mapText(): string | undefined {
    return this.#files.lastKnown(this.#paths.map);
  }

  /** Whether there is a `servers.json` of this version, which the suite wrote together with the maps of the site options. */
  ownsSiteMaps(): boolean {
    const { servers } = this.#paths;
    return existsSync(servers) && hasStateVersion(readFileSync(servers, 'utf8'));
  }

  /** The entries of an adopted map that `domains.map` keeps. Call it before the first write. */
  keepMapEntries(kept: KeptEntries): void {
    this.#kept = kept;
  }

  /**
   * Reads `servers.json` and replays the journal. Undefined if there is no `servers.json`. If the file has an older
   * version, it is kept with the journal folded in, as `servers.json.v1`; the next `checkpoint` writes the new version.
   *
   * @throws StateFileError, or the error of the file system
   */
  async open(): Promise<State | undefined> {
    const { servers, journal, map, pools } = this.#paths;
    const sites = Object.values(this.#paths.sites);
    await this.readDeclaredPools();
    await this.#files.initializeFolders([servers, journal, map, pools, ...sites]);
    const text = await this.#files.read(servers);
    for (const path of [map, pools, ...sites]) await this.#files.read(path);
    if (text === undefined) {
      await this.#journal.requireNoRecords();
      await this.downServers.open(undefined);
      return undefined;
    }
    const { state, version } = parseState(text, servers);
    await this.#journal.replayInto(state, baseOf(state.revision, text));
    if (version < STATE_VERSION) {
      const former =
        this.pendingRecords === 0 ? text : renderState(state.revision, orderedPools(state), [], version);
      await writeFileAtomic(`${servers}.v${version}`, former);
    }
    await this.downServers.open(state);
    return state;
  }

  /**
   * Stages a commit, which the caller must commit or discard. Only one commit may be staged at a time.
   *
   * @throws the error of the file system; the files are then unchanged
   */
  async stageCommit(delta: StateDelta, before: State, revision: number): Promise<StagedWrite> {
    await this.downServers.forget(delta, before);
    try {
      if (this.#fitsJournal(delta, before)) return await this.#stageInPlace(delta, before, revision);
    } catch (error) {
      if (!(error instanceof UnexpectedContentError)) throw error;
      this.#needsRewrite = true;
    }
    return this.#stageRewrite(this.#render(before, revision, delta));
  }

  /**
   * As `stageCommit`, for a change that HAProxy loads with a reload. It writes whole files, and HAProxy reads them before
   * the commit: `useDerived`, reload, then `commit`, or `discard` after a failure.
   *
   * @throws the error of the file system; the files are then unchanged
   */
  async stageReload(delta: StateDelta, before: State, revision: number): Promise<StagedReload> {
    await this.downServers.forget(delta, before);
    const { files, pools } = this.#render(before, revision, delta);
    await this.#readUnknown(pools);
    const { servers } = this.#paths;
    const derived = this.#files.stage(files.filter(({ path }) => path !== servers));
    let state: StagedWrite;
    try {
      state = this.#files.stage(files.filter(({ path }) => path === servers));
    } catch (error) {
      await derived.discard();
      throw error;
    }
    let isUsed = false;
    return {
      durable: allDurable([derived, state]),
      useDerived: async () => {
        await derived.commit();
        isUsed = true;
        // Commits in place do not know the new texts. If this change is discarded, the next commit writes all files.
        this.#needsRewrite = true;
      },
      commit: async () => {
        await state.commit();
        this.#pools.setContent(pools);
        this.#journal.remove();
        this.#needsRewrite = false;
      },
      discard: async () => {
        await state.discard();
        if (isUsed) await this.#rollBack(before);
        else await derived.discard();
      },
    };
  }

  /** The text of `pools.cfg` after a change, for a check by HAProxy. */
  poolsText(delta: StateDelta, before: State): string {
    return renderCompact(this.poolsFile.renderPools(orderedPools(before, delta)));
  }

  /** The writes of a commit as steps of a dry run. */
  describeCommit(delta: StateDelta, before: State): PlanStepDto[] {
    const { journal, map, pools } = this.#paths;
    if (!this.#fitsJournal(delta, before)) {
      const { files } = this.#render(before, before.revision + 1, delta);
      return files.flatMap(
        ({ path, text }) => describeFile(path, this.#files.lastKnown(path) ?? '', text) ?? [],
      );
    }
    const names = poolsWithChangedServers(delta, before);
    const sectionsOf = (poolOf: (name: string) => Pool | undefined) =>
      names.map((name) => this.poolsFile.renderPool(name, poolOf(name))).join('');
    const poolsStep = describeFile(
      pools,
      sectionsOf((name) => before.pool(name)),
      sectionsOf((name) => delta.pools.get(name)),
    );
    const { added, removed } = mapLinesOf(delta, before, this.#kept);
    const mapStep =
      added.length + removed.length > 0 ? linesStep(map, added.length, removed.length) : undefined;
    const siteSteps = this.#siteFiles(before, delta).map(({ path, text }) =>
      describeFile(path, this.#files.lastKnown(path) ?? '', text),
    );
    return [poolsStep, mapStep, ...siteSteps, linesStep(journal, 1, 0)].filter((step) => step !== undefined);
  }

  /** Rewrites all files, and deletes the journal. @throws the error of the file system */
  async checkpoint(state: State): Promise<void> {
    await commitWhenDurable(await this.#stageRewrite(this.#render(state, state.revision)));
  }

  /** Starts the journal of a large state, so that the next commit does not wait for it. If it fails, that commit retries. */
  async startJournalEarly(state: State): Promise<void> {
    const text = this.#files.lastKnown(this.#paths.servers);
    if (text === undefined || !this.#isLarge(text) || this.#journal.isOpen) return;
    await this.#startJournal(state).catch(() => undefined);
  }

  /** Deletes a journal without records, unless the file was modified: an operator may have restored a backup there. */
  removeEmptyJournal(): void {
    if (this.pendingRecords === 0 && this.#journal.check() === 'ok') this.#journal.remove();
  }

  /** Reads again which pools haproxy.cfg declares, because pools.cfg leaves them out. @throws the error of the file system */
  readDeclaredPools(): Promise<void> {
    return this.poolsFile.refresh();
  }

  /** The files that do not have the content of the state, with the pools of the last `readDeclaredPools`. */
  async findDifferences(state: State): Promise<FileDifference[]> {
    const differences: FileDifference[] = [];
    const add = (path: string, found: FileCheck) => {
      if (found !== 'ok') differences.push({ path, missing: found === 'missing' });
    };
    for (const [path, expected] of this.#expectedContents(state))
      add(path, await this.#files.check(path, expected));
    if (this.#journal.isOpen) add(this.#paths.journal, this.#journal.check());
    return differences;
  }

  /** Rewrites some of the files. @throws the error of the file system */
  async rewrite(state: State, paths: ReadonlySet<string>): Promise<void> {
    const { servers, journal } = this.#paths;
    for (const path of paths) if (path !== journal) await this.#files.read(path);
    if (this.#journal.isOpen && (paths.has(servers) || paths.has(journal))) {
      await this.checkpoint(state);
      return;
    }
    const { files } = this.#render(state, state.revision);
    await commitWhenDurable(this.#files.stage(files.filter(({ path }) => paths.has(path))));
  }

  /** Copies each file that does not have the content of the state to `<path><suffix>`. */
  async backUpDifferingFiles(state: State, suffix: string): Promise<void> {
    for (const { path, text } of this.#render(state, state.revision).files) {
      const present = await this.#files.read(path);
      if (present && present !== text) await writeFileAtomic(`${path}${suffix}`, present);
    }
  }

  #fitsJournal(delta: StateDelta, before: State): boolean {
    const text = this.#files.lastKnown(this.#paths.servers);
    if (this.#needsRewrite || text === undefined || !this.#isLarge(text)) return false;
    if (delta.domains.size > MAX_JOURNALED_DOMAINS || changesOptions(delta, before)) return false;
    const { added, removed } = mapLinesOf(delta, before, this.#kept);
    // HAProxy may start from the files at any moment, and a name must not be in domains.map before its options are in theirs.
    if (added.length > 0 && changesSiteMaps(delta, before)) return false;
    return removed.length <= MAX_REMOVED_MAP_LINES;
  }

  async #stageInPlace(delta: StateDelta, before: State, revision: number): Promise<StagedWrite> {
    if (!this.#journal.isOpen) await this.#startJournal(before);
    else if (this.pendingRecords === 0) await this.#requireUnmodified(this.#paths.servers);
    const { added, removed } = mapLinesOf(delta, before, this.#kept);
    const parts: (() => StagedWrite)[] = [];
    const sections = poolsWithChangedServers(delta, before).map((name): Section => [
      name,
      this.poolsFile.renderPool(name, delta.pools.get(name)),
    ]);
    if (sections.length > 0) parts.push(() => this.#pools.stageSections(sections));
    if (added.length + removed.length > 0) parts.push(() => this.#map.stageLines(added, removed));
    const siteFiles = this.#siteFiles(before, delta);
    if (siteFiles.length > 0) parts.push(() => this.#files.stage(siteFiles));
    // The journal is the commit point, so it is last.
    parts.push(() => this.#journal.stageRecord(recordOf(delta, before, revision)));
    const staged = await stageInOrder(parts);
    return {
      durable: staged.durable,
      commit: () =>
        staged.commit().catch(async (error: unknown) => {
          await this.#rollBack(before);
          throw error;
        }),
      discard: () =>
        staged.discard().catch(async (error: unknown) => {
          await this.#rollBack(before);
          if (this.#needsRewrite) throw error;
        }),
    };
  }

  /** After an incomplete commit: writes the former state to each file. The drift check reports a file that this misses. */
  async #rollBack(before: State): Promise<void> {
    const { servers, map, pools, sites } = this.#paths;
    for (const path of [pools, map, ...Object.values(sites), servers])
      await this.rewrite(before, new Set([path])).catch(() => {
        this.#needsRewrite = true;
      });
  }

  /** @throws UnexpectedContentError if `servers.json` was modified, because it is the base of the journal */
  async #startJournal(before: State): Promise<void> {
    const { servers } = this.#paths;
    await this.#requireUnmodified(servers);
    await this.#journal.start(baseOf(before.revision, this.#files.lastKnown(servers) ?? ''));
  }

  /** @throws UnexpectedContentError */
  async #requireUnmodified(path: string): Promise<void> {
    if ((await this.#files.check(path, exactly(this.#files.lastKnown(path) ?? ''))) === 'ok') return;
    await this.#files.read(path);
    throw new UnexpectedContentError(`${path} was modified`);
  }

  async #stageRewrite({ files, pools }: RenderedFiles): Promise<StagedWrite> {
    await this.#readUnknown(pools);
    const staged = this.#files.stage(files);
    return {
      durable: staged.durable,
      commit: async () => {
        await staged.commit();
        this.#pools.setContent(pools);
        this.#journal.remove();
        this.#needsRewrite = false;
      },
      discard: () => staged.discard(),
    };
  }

  /** Commits in place change these files without changing the texts that StateFiles knows. */
  async #readUnknown(pools: PaddedText | undefined): Promise<void> {
    const paths = this.#paths;
    const isKnown = !this.#journal.isOpen && !this.#needsRewrite;
    if (!isKnown) await this.#files.read(paths.map);
    if (!isKnown || (pools && !this.#pools.isUnmodified)) await this.#files.read(paths.pools);
  }

  /** `pools.cfg` depends on more than the revision. The other files are rendered only if a file has to be read. */
  #expectedContents(state: State): [path: string, expected: ExpectedContent][] {
    const { servers, map, pools } = this.#paths;
    const ordered = orderedPools(state);
    const { isOpen } = this.#journal;
    const { revision } = state;
    const sections = this.poolsFile.renderPools(ordered);
    const matchesPools = (text: string) => hasSections(text, sections);
    const matchesMap = (text: string) =>
      isOpen ? mapMatches(text, state, this.#kept) : text === this.#renderMap(ordered, state);
    const matchesState = (text: string) => text === renderState(revision, ordered, sitesAfter(state));
    return [
      [pools, { key: renderCompact(sections), matches: matchesPools }],
      [map, { key: revision, matches: matchesMap }],
      ...this.#expectedSiteMaps(state),
      [
        servers,
        isOpen ? exactly(this.#files.lastKnown(servers) ?? '') : { key: revision, matches: matchesState },
      ],
    ];
  }

  /** Rendered once, and only if one of the files has to be read. */
  #expectedSiteMaps(state: State): [path: string, expected: ExpectedContent][] {
    let texts: ReturnType<typeof renderSiteMaps> | undefined;
    return SITE_MAPS.map((map) => [
      this.#paths.sites[map],
      {
        key: state.revision,
        matches: (text) => {
          texts ??= renderSiteMaps(allSiteRecords(state));
          return text === texts[map];
        },
      },
    ]);
  }

  /** The maps of the site options, if the delta changes an entry. */
  #siteFiles(before: State, delta: StateDelta): FileText[] {
    return changesSiteMaps(delta, before) ? this.#allSiteFiles(before, delta) : [];
  }

  /** In the order in which they are renamed: the details are there before `sites.map` names them. */
  #allSiteFiles(before: State, delta?: StateDelta): FileText[] {
    const records = new Map(allSiteRecords(before));
    if (delta)
      for (const [key, record] of siteRecordsOf(delta, before))
        if (record.length > 0) records.set(key, record);
        else records.delete(key);
    const texts = renderSiteMaps(records);
    const order = [...SITE_MAPS.filter((map) => map !== 'sites'), 'sites' as const];
    return order.map((map) => ({ path: this.#paths.sites[map], text: texts[map] }));
  }

  #render(before: State, revision: number, delta?: StateDelta): RenderedFiles {
    const paths = this.#paths;
    const ordered = orderedPools(before, delta);
    const text = renderState(revision, ordered, sitesAfter(before, delta));
    const sections = this.poolsFile.renderPools(ordered);
    const pools = this.#isLarge(text) ? renderPadded(sections) : undefined;
    return {
      files: [
        { path: paths.pools, text: pools?.text ?? renderCompact(sections) },
        // The options of a name are there before the name.
        ...this.#allSiteFiles(before, delta),
        { path: paths.map, text: this.#renderMap(ordered, before, delta) },
        { path: paths.servers, text },
      ],
      pools,
    };
  }

  #renderMap(ordered: readonly [string, Pool][], before: State, delta?: StateDelta): string {
    const isDomain = (domain: string): boolean =>
      delta?.domains.has(domain)
        ? delta.domains.get(domain) !== undefined
        : before.poolOf(domain) !== undefined;
    return renderMap(ordered, this.#kept, isDomain);
  }

  /** Whether commits to a `servers.json` with this text use the journal. */
  #isLarge(text: string): boolean {
    return text.length >= this.#journalFromBytes;
  }
}

/** Whether a delta changes an entry of the maps of the site options. */
function changesSiteMaps(delta: StateDelta, before: State): boolean {
  return [...siteRecordsOf(delta, before)].some(
    ([key, record]) => !isSameRecord(record, siteRecord(before, domainOfMapKey(key))),
  );
}

/** Whether a pool gets other options. The head of `pools.cfg` names all options, and only a whole file has another head. */
function changesOptions(delta: StateDelta, before: State): boolean {
  return [...delta.pools].some(([name, pool]) => {
    const former = before.pool(name)?.options;
    return pool?.options !== former && optionsTag(pool?.options) !== optionsTag(former);
  });
}
