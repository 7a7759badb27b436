import { HAPROXY_UNIT, SUITE_UNIT } from '../../haproxy/process/systemd.js';
import type { Host } from './facts/host.js';
import type { Manifest } from './manifest.js';
import type { Plan } from './plan.js';
import { HOME, MANIFEST, MANIFEST_FOLDER } from './places.js';
import { refusedRights } from './refusals.js';
import { removeSteps } from './remove-steps.js';
import type { Step } from './steps.js';

const NOTHING = { links: {}, files: {}, folders: [MANIFEST_FOLDER] };

/** Pure: removes what the manifest names. The data in HAPROXY_HOME, and files that the operator changed, stay. */
export function planUninstall(host: Host, manifest: Manifest | undefined): Plan {
  const rights = refusedRights(host, 'haproxy-suite uninstall');
  if (rights !== undefined) return { refusals: [rights], steps: [], notes: [] };
  // A run that was killed before it wrote the manifest, or after it removed the manifest, can leave the folder.
  if (manifest === undefined) return { refusals: [], steps: removeSteps(host, NOTHING).steps, notes: [] };
  const { steps, kept } = removeSteps(host, manifest);
  return {
    refusals: [],
    steps: [
      ...stopSteps(host, manifest),
      ...host.partialReleases.map((path): Step => ({ do: 'remove_partial', path })),
      ...steps,
      ...afterSteps(host, manifest),
      // The manifest goes last, so that a run that was killed can be repeated.
      { do: 'remove_files', paths: [MANIFEST] },
      { do: 'remove_empty_folders', paths: [MANIFEST_FOLDER] },
    ],
    notes: [
      ...kept.map((path) => `${path} stays, because it was changed after the suite wrote it.`),
      ...manifest.users.map((user) => `The user ${user} stays, because it owns the data.`),
      `The data stay in ${HOME}. To delete all of them: rm -r ${HOME}`,
    ],
  };
}

function stopSteps(host: Host, { mode }: Manifest): Step[] {
  if (!host.isLive) return [];
  const { suite, haproxy } = host.units;
  const steps: Step[] = [];
  if (suite.isActive) steps.push({ do: 'systemctl', args: ['stop', SUITE_UNIT], why: 'the suite ends' });
  if (mode !== 'managed' && haproxy.isActive)
    steps.push({
      do: 'systemctl',
      args: ['stop', HAPROXY_UNIT],
      why: 'HAProxy ends; the sites are not served',
    });
  if (mode === 'managed') steps.push({ do: 'stop_haproxy_of_suite' });
  return steps;
}

function afterSteps(host: Host, { debianHaproxyRan }: Manifest): Step[] {
  if (!host.isLive) return [];
  const reload: Step = { do: 'systemctl', args: ['daemon-reload'], why: 'systemd forgets the units' };
  return debianHaproxyRan
    ? [
        reload,
        { do: 'systemctl', args: ['start', HAPROXY_UNIT], why: 'HAProxy of Debian ran before the suite' },
      ]
    : [reload];
}
