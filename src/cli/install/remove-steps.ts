import { dirname } from 'node:path';
import { factOf, type Host } from './facts/host.js';
import type { Manifest } from './manifest.js';
import { MANIFEST, releaseFolder, RELEASES, temporaryOf } from './places.js';
import type { Step } from './steps.js';

/** Removes what a manifest names. `kept` are files and links that the operator changed. Pure. */
export function removeSteps(
  host: Host,
  { links, files, folders }: Pick<Manifest, 'links' | 'files' | 'folders'>,
): { steps: Step[]; kept: string[] } {
  const kept: string[] = [];
  const removed: string[] = [];
  const look = (path: string, isUnchanged: boolean) => {
    if (factOf(host, path).kind !== 'missing') (isUnchanged ? removed : kept).push(path);
  };
  for (const [path, target] of Object.entries(links)) {
    const fact = factOf(host, path);
    look(path, fact.kind === 'link' && fact.target === target);
  }
  for (const [path, contents] of Object.entries(files)) {
    const fact = factOf(host, path);
    look(path, fact.kind === 'file' && contents.includes(fact.sha256));
  }
  const inReleases = Object.keys(files).flatMap((path) => foldersOfRelease(path));
  for (const path of temporaries({ links, files, folders }))
    if (['file', 'link'].includes(factOf(host, path).kind)) removed.push(path);
  const empty = [...new Set([...inReleases, ...folders, ...folders.map(temporaryOf)])]
    .filter((path) => factOf(host, path).kind === 'folder')
    .toSorted()
    .toReversed();
  const steps: Step[] = [];
  if (removed.length > 0) steps.push({ do: 'remove_files', paths: removed });
  if (empty.length > 0) steps.push({ do: 'remove_empty_folders', paths: empty });
  return { steps, kept };
}

/** What a killed run can have left. */
export function temporaries({
  links,
  files,
  folders,
}: Pick<Manifest, 'links' | 'files' | 'folders'>): string[] {
  const written = Object.keys(files).filter((path) => !path.startsWith(`${RELEASES}/`));
  return [MANIFEST, ...Object.keys(links), ...written, ...folders].map(temporaryOf);
}

/** The folders of a file of a release, up to the folder of the release. */
export function foldersOfRelease(path: string): string[] {
  const [, release] = /^\/opt\/haproxy-suite\/releases\/([^/]+)\//.exec(path) ?? [];
  if (release === undefined) return [];
  const top = releaseFolder(release);
  const folders: string[] = [];
  for (let folder = dirname(path); folder.startsWith(top) && folder !== RELEASES; folder = dirname(folder))
    folders.push(folder);
  return folders;
}
