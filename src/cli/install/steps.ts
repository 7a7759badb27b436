import { MANIFEST } from './places.js';
import type { Release } from './release.js';

/** One change of a host. Each step may be run again after it was done in part. */
export type Step =
  | { do: 'record'; manifest: string; text: string }
  | { do: 'create_user'; name: string; home: string }
  | { do: 'create_folder'; path: string; mode: number; owner: string | undefined }
  | { do: 'give_files'; paths: readonly string[]; owner: string | undefined }
  | { do: 'copy_release'; release: Release }
  | { do: 'write_file'; path: string; content: string; mode: number }
  | { do: 'link'; path: string; target: string }
  | { do: 'remove_files'; paths: readonly string[] }
  /** The deepest folders first. */
  | { do: 'remove_empty_folders'; paths: readonly string[] }
  | { do: 'remove_partial'; path: string }
  | { do: 'systemctl'; args: readonly string[]; why: string }
  | { do: 'stop_haproxy_of_suite' }
  | { do: 'wait_for_files'; paths: readonly string[] }
  | { do: 'wait_ready'; url: string };

/** One line for people. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case 'record':
      return step.text;
    case 'create_user':
      return `Create the system user ${step.name}`;
    case 'create_folder':
      return `Create the folder ${step.path} (owner ${step.owner ?? 'root'}, mode ${octal(step.mode)})`;
    case 'give_files':
      return `Give ${step.paths.length} file(s) and folder(s) of an earlier installation to ${step.owner ?? 'root'}: ${some(step.paths)}`;
    case 'copy_release':
      return `Copy the program, version ${step.release.version}, to ${step.release.folder}`;
    case 'write_file':
      return `Write ${step.path}`;
    case 'link':
      return `Link ${step.path} to ${step.target}`;
    case 'remove_files':
      return `Remove ${byRelease(step.paths).join(', ')}`;
    case 'remove_empty_folders':
      return `Remove the folders that are empty then: ${withoutReleases(step.paths).join(', ')}`;
    case 'remove_partial':
      return `Remove ${step.path}, which a killed run left`;
    case 'systemctl':
      return `Run systemctl ${step.args.join(' ')}: ${step.why}`;
    case 'stop_haproxy_of_suite':
      return 'Stop the HAProxy that the suite started, if it still runs';
    case 'wait_for_files':
      return `Wait until the suite has written ${step.paths.join(', ')}`;
    case 'wait_ready':
      return `Wait until the suite is ready: ${step.url}`;
    default:
      return step satisfies never;
  }
}

/** The lines of a plan. */
export function describePlan(steps: readonly Step[]): string[] {
  return steps.map((step, index) => `${String(index + 1).padStart(3)}. ${describeStep(step)}`);
}

/** The hundreds of files of a release are shown as its folder. */
function byRelease(paths: readonly string[]): string[] {
  const shown = paths.map((path) => {
    const release = releaseOf(path);
    return release === undefined
      ? path
      : `${paths.filter((one) => releaseOf(one) === release).length} files in ${release}`;
  });
  return [...new Set(shown)];
}

function withoutReleases(paths: readonly string[]): string[] {
  return paths.filter((path) => releaseOf(path) === undefined || releaseOf(path) === path);
}

function releaseOf(path: string): string | undefined {
  return /^\/opt\/haproxy-suite\/releases\/[^/]+/.exec(path)?.[0];
}

/** This number of paths is shown of a long list. */
const FEW = 3;

const octal = (mode: number): string => mode.toString(8);

function some(paths: readonly string[]): string {
  return paths.length <= FEW ? paths.join(', ') : `${paths.slice(0, FEW).join(', ')}, …`;
}

export const record = (manifest: string, text = `Record in ${MANIFEST} what this command brings`): Step => ({
  do: 'record',
  manifest,
  text,
});
