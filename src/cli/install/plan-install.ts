import { HAPROXY_UNIT, SUITE_UNIT } from '../../haproxy/process/systemd.js';
import { factOf, type Host, type UnitFact } from './facts/host.js';
import { type Manifest, renderManifest } from './manifest.js';
import { COMMAND_FILE, HOME, MANIFEST_FOLDER, newVersionOf, releaseFolder } from './places.js';
import type { Plan, Request } from './plan.js';
import { refusals } from './refusals.js';
import { sha256Of } from './release.js';
import { removeSteps } from './remove-steps.js';
import { record, type Step } from './steps.js';
import type { Wanted, WantedFile } from './wanted.js';

/** Pure: the steps from a host as it is to the host as it should be. No steps if nothing is left to do. */
export function planInstall(
  host: Host,
  want: Wanted,
  manifest: Manifest | undefined,
  request: Request,
): Plan {
  const files = want.files.map((file) => planFile(host, manifest, file));
  const refused = [
    ...refusals(host, want, manifest, request),
    ...files.flatMap((file) => file.refusal ?? []),
    ...foreignLinks(host, want, manifest),
  ];
  if (refused.length > 0) return { refusals: refused, steps: [], notes: [] };

  const next = nextManifest(host, want, manifest, files);
  const obsolete = manifest ? obsoleteSteps(host, manifest, next) : [];
  const units = unitSteps(host, want, request, files);
  const changes: Step[] = [
    ...userSteps(host, want),
    ...folderSteps(host, want),
    ...giveSteps(host, want, manifest),
    ...releaseSteps(host, want),
    ...files.flatMap(({ write }) => write ?? []),
    ...linkSteps(host, want),
    ...units,
    ...obsolete,
  ];
  const isRecorded = manifest !== undefined && renderManifest(manifest) === renderManifest(next);
  const steps = changes.length === 0 && isRecorded ? [] : recorded(host, manifest, next, changes);
  return { refusals: [], steps, notes: notes(host, want, manifest, files) };
}

/** The manifest names everything before it exists, and what is removed until it is gone. */
function recorded(
  host: Host,
  former: Manifest | undefined,
  next: Manifest,
  changes: readonly Step[],
): Step[] {
  const during: Manifest = {
    ...next,
    finished: false,
    links: { ...former?.links, ...next.links },
    files: { ...former?.files, ...next.files },
  };
  const folder: Step[] =
    factOf(host, MANIFEST_FOLDER).kind === 'missing'
      ? [{ do: 'create_folder', path: MANIFEST_FOLDER, mode: 0o755, owner: undefined }]
      : [];
  return [
    ...folder,
    record(renderManifest(during)),
    ...changes,
    record(renderManifest(next), 'Record that everything is done'),
  ];
}

interface PlannedFile extends WantedFile {
  sha256: string;
  /** Contents that the suite wrote to this path before. */
  known: readonly string[];
  /** Whether the suite may write and remove the file at `path`. */
  isOurs: boolean;
  write?: Step;
  /** The file stays as the operator changed it. */
  isKept?: boolean;
  refusal?: string;
}

/**
 * A file that is missing or has a content that the suite wrote is written. A file that the operator changed stays: the
 * new content is written beside it. A file that was there before is never touched.
 */
function planFile(host: Host, manifest: Manifest | undefined, file: WantedFile): PlannedFile {
  const { path, content, mode } = file;
  const sha256 = sha256Of(content);
  const recorded = manifest?.files[path];
  const known = recorded ?? [];
  const fact = factOf(host, path);
  const planned = { ...file, sha256, known, isOurs: true };
  const write: Step = { do: 'write_file', path, content, mode };
  if (fact.kind === 'missing') return { ...planned, write };
  if (fact.kind === 'file' && fact.sha256 === sha256) return { ...planned, isOurs: recorded !== undefined };
  if (fact.kind === 'file' && known.includes(fact.sha256)) return { ...planned, write };
  if (recorded === undefined) return { ...planned, isOurs: false, refusal: foreignFile(path) };
  if (known[0] === sha256 && !file.isEssential) return { ...planned, isKept: true };
  if (file.isEssential)
    return {
      ...planned,
      refusal:
        `${path} was changed, and this command must write it. Move it away (mv ${path} ${path}.mine) and run the ` +
        `command again. Put your lines into ${path.replace(/\/[^/]*$/, '/50-local.conf')}, which nobody else writes.`,
    };
  const beside = newVersionOf(path);
  const isBeside = isContent(host, beside, sha256);
  return {
    ...planned,
    isKept: true,
    ...(isBeside ? {} : { write: { do: 'write_file', path: beside, content, mode } }),
  };
}

const foreignFile = (path: string): string =>
  `${path} is there, and this command did not write it. Compare it with the file of the suite in deploy/, then move it ` +
  `away: mv ${path} ${path}.before-suite`;

function foreignLinks(host: Host, { links }: Wanted, manifest: Manifest | undefined): string[] {
  return links
    .filter(({ path, isEnabling }) => !isEnabling && manifest?.links[path] === undefined)
    .filter(({ path }) => factOf(host, path).kind !== 'missing')
    .map(({ path }) => foreignFile(path));
}

function isContent(host: Host, path: string, sha256: string): boolean {
  const fact = factOf(host, path);
  return fact.kind === 'file' && fact.sha256 === sha256;
}

function nextManifest(
  host: Host,
  want: Wanted,
  former: Manifest | undefined,
  files: readonly PlannedFile[],
): Manifest {
  const { release } = want;
  const isNew = (path: string) => factOf(host, path).kind === 'missing';
  const isUpgrade = former !== undefined && former.release !== release.id;
  // A release whose installation did not finish is no way back.
  const previous = isUpgrade && (former.finished || !former.previous) ? former.release : former?.previous;
  const ofPrevious = Object.entries(former?.files ?? {}).filter(
    ([path]) => previous !== undefined && isInRelease(path, previous),
  );
  const written = files.flatMap((file): [string, string[]][] => {
    if (!file.isOurs) return [];
    const own: [string, string[]] = [file.path, [...new Set([file.sha256, ...file.known])]];
    const beside = newVersionOf(file.path);
    const hadBeside = former?.files[beside];
    if (file.write?.do === 'write_file' && file.write.path === beside)
      return [own, [beside, [...new Set([file.sha256, ...(hadBeside ?? [])])]]];
    return hadBeside && file.isKept === true ? [own, [beside, hadBeside]] : [own];
  });
  const users = want.user !== undefined && !host.users.has(want.user) ? [want.user] : [];
  const folders = want.folders.map(({ path }) => path).filter((path) => isNew(path));
  const links = want.links
    .filter((link) => isNew(link.path) || former?.links[link.path] !== undefined)
    .map((link) => [link.path, link.target] as const);
  return {
    version: 1,
    mode: want.mode,
    release: release.id,
    ...(want.user === undefined ? {} : { user: want.user }),
    ...(previous === undefined ? {} : { previous }),
    finished: true,
    debianHaproxyRan:
      former?.debianHaproxyRan ?? (want.haproxyFragment !== undefined && host.debianHaproxyRuns),
    users: [...new Set([...(former?.users ?? []), ...users])],
    folders: [...new Set([...(former?.folders ?? []), ...folders])].toSorted(),
    links: Object.fromEntries(links),
    files: Object.fromEntries([
      ...written,
      ...release.files.map(({ path, sha256 }) => [`${release.folder}/${path}`, [sha256]] as const),
      ...ofPrevious,
    ]),
  };
}

function isInRelease(path: string, release: string): boolean {
  return path.startsWith(`${releaseFolder(release)}/`);
}

function userSteps(host: Host, { user }: Wanted): Step[] {
  return user === undefined || host.users.has(user) ? [] : [{ do: 'create_user', name: user, home: HOME }];
}

function folderSteps(host: Host, { folders }: Wanted): Step[] {
  return folders
    .filter(({ path }) => factOf(host, path).kind === 'missing')
    .map((folder) => ({ do: 'create_folder', ...folder }));
}

/** Only in the first run: later the operator decides who owns what. */
function giveSteps(host: Host, { user }: Wanted, manifest: Manifest | undefined): Step[] {
  if (manifest?.finished === true || host.foreignFiles.length === 0) return [];
  return [{ do: 'give_files', paths: host.foreignFiles, owner: user }];
}

/** A release has its name only when it is complete. */
function releaseSteps(host: Host, { release }: Wanted): Step[] {
  const partials = host.partialReleases.map((path): Step => ({ do: 'remove_partial', path }));
  return factOf(host, release.folder).kind === 'folder'
    ? partials
    : [...partials, { do: 'copy_release', release }];
}

function linkSteps(host: Host, { links }: Wanted): Step[] {
  return links
    .filter(({ path, target, isEnabling }) => {
      const fact = factOf(host, path);
      // A unit of this name that is enabled with another file (Debian's haproxy.service) is enabled.
      if (fact.kind === 'link') return !isEnabling && fact.target !== target;
      return fact.kind === 'missing';
    })
    .map(({ path, target }) => ({ do: 'link', path, target }));
}

/** Reloads systemd, starts what does not run, and starts the suite again if it runs with other files. */
function unitSteps(host: Host, want: Wanted, request: Request, files: readonly PlannedFile[]): Step[] {
  if (!host.isLive) return [];
  const { suite, haproxy } = host.units;
  const isWritten = files.some(({ write, path }) => write !== undefined && path !== COMMAND_FILE);
  const isOtherFragment = want.haproxyFragment !== undefined && haproxy.fragment !== want.haproxyFragment;
  const mustReload =
    isWritten || isOtherFragment || suite.fragment === '' || suite.needsReload || haproxy.needsReload;
  const steps: Step[] = [];
  if (mustReload) steps.push(systemctl(['daemon-reload'], 'systemd reads the units'));
  if (isOtherFragment && haproxy.isActive)
    steps.push(
      systemctl(['stop', HAPROXY_UNIT], 'the HAProxy that runs does not use the files of the suite'),
    );
  const isStale = suite.isActive && runsFormerFiles(host, want, suite, isWritten);
  if (!suite.isActive) steps.push(systemctl(['start', SUITE_UNIT], 'the suite writes the files of HAProxy'));
  else if (isStale)
    steps.push(
      systemctl(['restart', SUITE_UNIT], 'the suite starts with the new files; HAProxy goes on serving'),
    );
  if (want.haproxyFragment !== undefined && (!haproxy.isActive || isOtherFragment))
    steps.push(
      {
        do: 'wait_for_files',
        paths: ['suite.cfg', 'haproxy.cfg', 'pools.cfg'].map((name) => `${HOME}/conf/${name}`),
      },
      systemctl(['start', HAPROXY_UNIT], 'HAProxy serves'),
    );
  if (steps.length > 0 || !host.isReady) steps.push({ do: 'wait_ready', url: request.readyUrl });
  return steps;
}

function runsFormerFiles(host: Host, want: Wanted, suite: UnitFact, isWritten: boolean): boolean {
  if (isWritten || !suite.command.includes(`${want.release.folder}/`)) return true;
  // A run that was killed before the restart: the files are newer than the process. systemd gives whole seconds.
  return want.files.some(({ path, isEssential }) => {
    const fact = factOf(host, path);
    return (
      isEssential && fact.kind === 'file' && Math.floor(fact.mtimeMs / 1000) * 1000 > (suite.startedMs ?? 0)
    );
  });
}

const systemctl = (args: readonly string[], why: string): Step => ({ do: 'systemctl', args, why });

/** What an earlier release brought and this one does not. A file that the operator changed stays. */
function obsoleteSteps(host: Host, former: Manifest, next: Manifest): Step[] {
  const { files, links } = former;
  const gone = {
    ...former,
    files: without(files, next.files),
    links: without(links, next.links),
    folders: [],
  };
  return removeSteps(host, gone).steps;
}

function without<T>(all: Record<string, T>, kept: Record<string, unknown>): Record<string, T> {
  return Object.fromEntries(Object.entries(all).filter(([path]) => !Object.hasOwn(kept, path)));
}

function notes(
  host: Host,
  want: Wanted,
  manifest: Manifest | undefined,
  files: readonly PlannedFile[],
): string[] {
  const lines: string[] = [];
  if (!host.system.isDebian)
    lines.push(`This command is tested on Debian and Ubuntu, and this host is ${host.system.name}.`);
  if (manifest?.finished === false) lines.push('The last run did not finish. This run continues it.');
  for (const { path, isKept } of files)
    if (isKept === true)
      lines.push(
        factOf(host, newVersionOf(path)).kind === 'file' || files.some(({ write }) => isBesideOf(write, path))
          ? `${path} stays as you changed it. The new version is in ${newVersionOf(path)}.`
          : `${path} stays as you changed it.`,
      );
  if (want.mode === 'managed' && host.debianHaproxyRuns)
    lines.push(
      `${HAPROXY_UNIT} of Debian runs too. The suite does not need it: systemctl disable --now ${HAPROXY_UNIT}`,
    );
  const unit = files.find(({ path }) => path.endsWith(`/${HAPROXY_UNIT}`) || path.endsWith('.container'));
  if (unit?.write && host.units.haproxy.isActive && host.units.haproxy.fragment === want.haproxyFragment)
    lines.push(
      `The new ${unit.path} counts when HAProxy starts again. A restart closes the ports for a moment: systemctl restart ${HAPROXY_UNIT}`,
    );
  return lines;
}

function isBesideOf(write: Step | undefined, path: string): boolean {
  return write?.do === 'write_file' && write.path === newVersionOf(path);
}
