import { HAPROXY_UNIT, SUITE_UNIT } from '../../haproxy/process/systemd.js';
import type { SocketAddress } from '../../settings/settings.js';
import {
  COMMAND_FILE,
  CURRENT,
  DATA_FOLDERS,
  HOME,
  PROGRAM,
  QUADLET,
  QUADLET_UNIT,
  RELEASES,
  SUITE_ENV,
  SYSTEMD,
} from './places.js';
import { mainOf, type Release } from './release.js';
import { commandLine, environmentOf, withValue } from './unit-text.js';

/** Who runs HAProxy: systemd, Podman by a Quadlet, or the suite. */
export type Mode = 'systemd' | 'quadlet' | 'managed';

/** The files of the package in deploy/. */
export interface Sources {
  suiteUnit: string;
  haproxyUnit: string;
  /** The drop-in of the suite's unit for HAPROXY_CONTROL=managed. */
  managed: string;
  quadlet: string;
}

export interface WantedFile {
  path: string;
  content: string;
  mode: number;
  /** Without this content the suite would not run as it was asked for, so a change of the operator is refused. */
  isEssential: boolean;
}

/** What an installation should have on the host. */
export interface Wanted {
  mode: Mode;
  release: Release;
  /** The user of the services; undefined if they run as root. */
  user: string | undefined;
  folders: readonly { path: string; mode: number; owner: string | undefined }[];
  files: readonly WantedFile[];
  links: readonly { path: string; target: string; isEnabling: boolean }[];
  /** The image of HAProxy, for a Quadlet. */
  image: string | undefined;
  /** The file of haproxy.service that systemd must have loaded; undefined if the suite runs HAProxy. */
  haproxyFragment: string | undefined;
  /** The environment of the suite without suite.env. */
  environment: Readonly<Record<string, string>>;
}

export interface Choice {
  mode: Mode;
  /** The user of the services; undefined for root. The sources are those of this user. */
  user: string | undefined;
  node: string;
  /** The image of HAProxy for the Quadlet. */
  image: string | undefined;
  /** The Runtime API of a haproxy.cfg that exists; undefined for a new one. */
  runtimeApi: SocketAddress | undefined;
}

const NOTE = `# Written by "haproxy-suite install". Each upgrade writes it again. Put your own settings into
# ${SUITE_ENV}, and your own lines into another file beside this one.
`;

/** The user of HAProxy on Debian. The units in deploy/systemd/haproxy-user run as this user. */
const HAPROXY_USER = 'haproxy';

/**
 * The user of the services; undefined for root. A new installation has its own user. Files of an earlier one can belong
 * to root. A container has users of its own, so Podman's HAProxy and the suite share the files as root.
 */
export function chooseUser(mode: Mode, homeOwner: string | undefined, isNew: boolean): string | undefined {
  if (mode === 'quadlet') return undefined;
  return isNew || homeOwner === HAPROXY_USER ? HAPROXY_USER : undefined;
}

/** Pure: the same choice and files give the same result. */
export function wanted(choice: Choice, sources: Sources, release: Release): Wanted {
  const { mode, user } = choice;
  const dropIns = `${SYSTEMD}/${SUITE_UNIT}.d`;
  const install = installDropIn(choice, sources.suiteUnit, release);
  const haproxyFragment = {
    systemd: `${SYSTEMD}/${HAPROXY_UNIT}`,
    quadlet: QUADLET_UNIT,
    managed: undefined,
  }[mode];
  return {
    mode,
    release,
    user,
    image: choice.image,
    folders: [
      ...DATA_FOLDERS.map((path) => ({ path, mode: 0o750, owner: user })),
      ...[PROGRAM, RELEASES, dropIns].map((path) => ({ path, mode: 0o755, owner: undefined })),
      ...(mode === 'quadlet'
        ? ['/etc/containers', '/etc/containers/systemd'].map((path) => ({
            path,
            mode: 0o755,
            owner: undefined,
          }))
        : []),
    ],
    files: [
      unit(`${SYSTEMD}/${SUITE_UNIT}`, sources.suiteUnit),
      { ...unit(`${dropIns}/10-install.conf`, install), isEssential: true },
      ...(mode === 'managed'
        ? [{ ...unit(`${dropIns}/20-managed.conf`, sources.managed), isEssential: true }]
        : []),
      ...(mode === 'systemd' ? [unit(`${SYSTEMD}/${HAPROXY_UNIT}`, sources.haproxyUnit)] : []),
      ...(mode === 'quadlet' ? [unit(QUADLET, quadlet(sources.quadlet, choice.image))] : []),
      {
        path: COMMAND_FILE,
        content: `#!/bin/sh\n# Written by "haproxy-suite install".\nexec ${choice.node} ${CURRENT}/dist/main.js "$@"\n`,
        mode: 0o755,
        isEssential: false,
      },
    ],
    links: [
      { path: CURRENT, target: release.folder, isEnabling: false },
      enabling(SUITE_UNIT),
      // A Quadlet is enabled by its own section [Install].
      ...(mode === 'systemd' ? [enabling(HAPROXY_UNIT)] : []),
    ],
    haproxyFragment,
    environment: environmentOf([
      sources.suiteUnit,
      install,
      ...(mode === 'managed' ? [sources.managed] : []),
    ]),
  };
}

function unit(path: string, content: string): WantedFile {
  return { path, content, mode: 0o644, isEssential: false };
}

/** What differs on this host from the unit of the package: Node, the release, and the Runtime API of a former haproxy.cfg. */
function installDropIn({ mode, node, runtimeApi }: Choice, unit: string, { id }: Release): string {
  const { HAPROXY_SOCKET: socket } = environmentOf([unit]);
  const lines = ['[Service]', 'ExecStart=', `ExecStart=${commandLine(unit, node, mainOf(id))}`];
  if (mode !== 'managed' && runtimeApi && !('path' in runtimeApi && runtimeApi.path === socket))
    lines.push(
      `# ${HOME}/conf/haproxy.cfg has the Runtime API here.`,
      'path' in runtimeApi
        ? `Environment=HAPROXY_SOCKET=${runtimeApi.path}`
        : `Environment=HAPROXY_SOCKET= HAPROXY_HOST=${runtimeApi.host} HAPROXY_PORT=${runtimeApi.port}`,
    );
  return `${NOTE}${lines.join('\n')}\n`;
}

function quadlet(text: string, image: string | undefined): string {
  return image === undefined ? text : withValue(text, 'Image', image);
}

/** What `systemctl enable` makes for WantedBy=multi-user.target. A link works with `--root` too. */
function enabling(unit: string): Wanted['links'][number] {
  return {
    path: `${SYSTEMD}/multi-user.target.wants/${unit}`,
    target: `${SYSTEMD}/${unit}`,
    isEnabling: true,
  };
}

/** Podman asks no registry for an image without one: `localhost/haproxy:3.2`, `registry.example.com/haproxy:3.2`. */
export function namesRegistry(image: string): boolean {
  const [first = '', ...rest] = image.split('/');
  return rest.length > 0 && /[.:]|^localhost$/.test(first);
}
