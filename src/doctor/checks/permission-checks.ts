import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'dotenv';
import { httpsBinds } from '../../haproxy/config/https-binds.js';
import {
  allows,
  type Denial,
  denialOf,
  type FileMode,
  type HostUser,
  modeOf,
  nameOfGroup,
  OTHERS,
  presenceOf,
  type Right,
  textOf,
} from '../facts/users.js';
import { isSecret } from '../facts/shell-variables.js';
import { environmentFiles } from '../facts/units.js';
import { workingFolderOf } from '../facts/environment.js';
import { error, type Finding, NotRun, warning } from '../finding.js';
import type { Host } from '../host.js';
import { quote } from '../../lib/shell-quote.js';
import type { HostCheck } from './check-type.js';

export const PERMISSION_CHECKS: readonly HostCheck[] = [
  { subject: 'permissions', name: 'the suite can use its files', run: suiteFiles },
  { subject: 'permissions', name: 'HAProxy can read its files', run: haproxyFiles },
  { subject: 'permissions', name: 'private keys are private', run: privateKeys },
  { subject: 'permissions', name: 'tokens and secrets are private', run: secrets },
  { subject: 'permissions', name: 'other users cannot change the files', run: writableByOthers },
];

interface Need {
  path: string;
  rights: readonly Right[];
}

const FOLDER: readonly Right[] = ['r', 'w', 'x'];

async function suiteFiles(host: Host): Promise<Finding[]> {
  const { files, folders, home } = host.settings;
  const owned = [
    files.servers,
    files.pools,
    files.map,
    files.acmeMap,
    ...Object.values(files.sites),
    files.suite,
    files.certificates,
    files.token,
    files.tokens,
  ];
  const needs: Need[] = [
    ...[join(home, 'conf'), folders.certs, join(home, 'data'), folders.run].map((path) => ({
      path,
      rights: FOLDER,
    })),
    ...[...owned, files.journal, files.audit, files.history, files.operations, files.nodeId].map((path) => ({
      path,
      rights: ['r', 'w'] as const,
    })),
    { path: files.config, rights: ['r'] },
    ...(await certificateFiles(folders.certs)).map((path) => ({ path, rights: ['r'] as const })),
  ];
  return denials(host, await host.suiteUser(), 'The suite', needs);
}

async function haproxyFiles(host: Host): Promise<Finding[] | undefined> {
  const user = await host.haproxyUser();
  if (!user) return undefined;
  const suite = await host.suiteUser();
  // The same user has been checked with more needs.
  if (user.uid === suite.uid && host.settings.control === 'managed') return [];
  const { files, folders } = host.settings;
  const certificates = httpsBinds(await host.sections()).flatMap((bind) => bind.certificates);
  const needs: Need[] = [
    ...[files.suite, files.config, files.pools, files.map, files.acmeMap, ...Object.values(files.sites)].map(
      (path) => ({
        path,
        rights: ['r'] as const,
      }),
    ),
    { path: folders.run, rights: ['w', 'x'] },
    ...[...new Set(certificates)].map((path) => ({ path, rights: ['r'] as const })),
    ...(await certificateFiles(folders.certs)).map((path) => ({ path, rights: ['r'] as const })),
  ];
  return denials(host, user, 'HAProxy', needs);
}

/** One finding for each path that keeps the user out. */
async function denials(host: Host, user: HostUser, who: string, needs: readonly Need[]): Promise<Finding[]> {
  const found = new Map<string, { denial: Denial; rights: Set<Right> }>();
  const asked = needs.flatMap(({ path, rights }) => rights.map((right) => ({ path, right })));
  const unseen = await Promise.all(needs.map(({ path }) => presenceOf(path)));
  const results = await Promise.all(asked.map(({ path, right }) => denialOf(path, user, right)));
  for (const denial of results) {
    if (!denial) continue;
    const known = found.get(denial.at.path) ?? { denial, rights: new Set() };
    found.set(denial.at.path, { denial, rights: known.rights.add(denial.right) });
  }
  if (found.size === 0 && unseen.includes('unseen'))
    throw new NotRun(`This user may not see all files of ${host.settings.home}.`, true);
  return [...found.values()].map(({ denial: { at }, rights }) => {
    const verbs = [...rights].map((right) => VERBS[right]).join(' and ');
    return error(
      `${who} runs as ${user.name} and may not ${verbs} ${at.path} (owner ${ownerOf(at)}, mode ${at.mode.toString(8)}).`,
      grant(at, user, [...rights]),
    );
  });
}

const VERBS: Record<Right, string> = { r: 'read', w: 'write', x: 'enter' };

function ownerOf({ uid, gid }: FileMode): string {
  return `${uid}:${nameOfGroup(gid)}`;
}

/** The smallest change: rights for the owner or the group if the user is one of them, otherwise the ownership. Pure. */
function grant({ path, uid, gid }: FileMode, user: HostUser, rights: readonly Right[]): string {
  const letters = rights.join('');
  const name = quote(path);
  if (uid === user.uid) return `chmod u+${letters} ${name}`;
  if (user.gids.has(gid)) return `chmod g+${letters} ${name}`;
  // The owner of a folder above the installation, such as /opt, must not change.
  return rights.length === 1 && rights[0] === 'x'
    ? `chmod o+x ${name}`
    : `chown ${user.name} ${name} && chmod u+${letters} ${name}`;
}

async function privateKeys(host: Host): Promise<Finding[]> {
  const { folders, acme } = host.settings;
  const declared = httpsBinds(await host.sections()).flatMap((bind) => bind.certificates);
  const candidates = [
    ...(await certificateFiles(folders.certs)),
    ...declared.filter((path) => !path.startsWith(`${folders.certs}/`)),
    ...(await filesBelow(acme.home)).filter((path) => path.endsWith('.key')),
  ];
  const findings = await Promise.all(
    [...new Set(candidates)].map(async (path): Promise<Finding[]> => {
      const file = await modeOf(path);
      if (!file || (await denialOf(path, OTHERS, 'r'))) return [];
      const text = await textOf(path);
      return text?.includes('PRIVATE KEY-----') === true
        ? [
            error(
              `Every user of this machine can read the private key in ${path}.`,
              `chmod o-rwx ${quote(path)}`,
            ),
          ]
        : [];
    }),
  );
  return findings.flat();
}

/** The token file, the environment files of the units, and `.env`. */
async function secrets(host: Host): Promise<Finding[]> {
  const { settings, units, suitePid } = host;
  const folder = suitePid === undefined ? undefined : workingFolderOf(suitePid);
  const files = new Set([
    settings.files.token,
    join(settings.home, 'conf/suite.env'),
    join(settings.home, '.env'),
    ...(folder === undefined ? [] : [join(folder, '.env')]),
    ...(units?.suite.isLoaded === true ? environmentFiles(units.suite) : []),
  ]);
  const findings = await Promise.all(
    [...files].map(async (path): Promise<Finding[]> => {
      const file = await modeOf(path);
      const text = file && (await textOf(path));
      if (!file || text === undefined) return [];
      const names = Object.entries(parse(text))
        .filter(([name, value]) => isSecret(name) && value !== '')
        .map(([name]) => name);
      if (names.length === 0 || (await denialOf(path, OTHERS, 'r'))) return [];
      return [
        error(
          `Other users of this machine can read ${path}, which has ${names.join(', ')}.`,
          `chmod 600 ${quote(path)}`,
        ),
      ];
    }),
  );
  return findings.flat();
}

/** Who can write to a configuration file can run programs as the user of HAProxy. */
async function writableByOthers({ settings }: Host): Promise<Finding[]> {
  const { files, folders, home } = settings;
  const paths = [
    home,
    join(home, 'conf'),
    join(home, 'data'),
    folders.certs,
    folders.run,
    files.config,
    files.suite,
    files.pools,
    files.map,
    ...Object.values(files.sites),
    files.servers,
    files.certificates,
    files.token,
    files.tokens,
    files.beforeRules,
    files.beforeGlobal,
  ];
  const findings = await Promise.all(
    paths.map(async (path): Promise<Finding[]> => {
      const file = await modeOf(path);
      if (!file || !allows(file, OTHERS, 'w') || (await denialOf(path, OTHERS, 'w'))) return [];
      return [warning(`Every user of this machine can change ${path}.`, `chmod o-w ${quote(path)}`)];
    }),
  );
  return findings.flat();
}

/** The files of the folder and their real paths, because a link often leads to a file of another ACME client. */
async function certificateFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const paths = names.filter((name) => !name.startsWith('.')).map((name) => join(folder, name));
  return Promise.all(paths.map((path) => realpath(path).catch(() => path)));
}

/** Two levels are enough for the folder of acme.sh. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const found = await Promise.all(
    entries.map(async (entry) => {
      const path = join(folder, entry.name);
      if (!entry.isDirectory()) return [path];
      const inner = await readdir(path).catch(() => []);
      return inner.map((name) => join(path, name));
    }),
  );
  return found.flat();
}
