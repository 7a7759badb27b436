import { basename, dirname, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { isSamePath } from '../../lib/same-path.js';
import { Settings } from '../../settings/settings.js';
import { parseConfig } from '../config/config-parser.js';
import { type CrtListEntry, crtListEntries, httpsBinds } from '../config/https-binds.js';
import { readTextIfPresent } from '../config/operator-config.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { isSameProcess, type ProcessIdentity } from '../runtime/process-identity.js';
import type { CertificateFile } from './certificate-folder.js';
import { stampOf } from './certificate-file.js';
import { isAtLeast, parseVersion } from '../parsers/version.parser.js';
import type { TrialBind, TrialContext } from './certificate-trial.js';
import { HaproxyCertificatesService } from './haproxy-certificates.service.js';

/** Trials share an output of HAProxy that lists all certificates for this long. */
const SHARED_MS = 1_000;

/** What trials of certificates share: the binds of haproxy.cfg and the running HAProxy process. */
@Injectable()
export class TrialContexts {
  #config: { stamp: string; files: readonly string[]; binds: readonly TrialBind[] } | undefined;
  #process: ProcessIdentity | undefined;
  #processNumber = 0;

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
    private readonly haproxy: HaproxyCertificatesService,
  ) {}

  /**
   * `files`: all certificates of the folder, to name the one that visitors get. `changes` counts changes in HAProxy:
   * trials share an output of HAProxy only until the next one.
   */
  async open(files: readonly CertificateFile[], changes: () => number): Promise<TrialContext> {
    const [binds, info] = await Promise.all([this.#binds(), this.runtime.info().catch(() => undefined)]);
    if (info) {
      if (!this.#process || !isSameProcess(this.#process, info)) this.#processNumber += 1;
      this.#process = info;
    }
    const showsSni = info !== undefined && isAtLeast(parseVersion(info.version), 3, 2);
    return {
      id: `${info ? this.#processNumber : 'none'} ${this.#config?.stamp}`,
      binds,
      version: info?.version,
      sni: showsSni ? remembered(changes, () => this.haproxy.sni()) : undefined,
      inHaproxy: (name) => this.haproxy.find(name),
      pathOf: (fingerprint) => files.find(({ leaf }) => leaf.fingerprint256 === fingerprint)?.path,
    };
  }

  /** The binds that serve certificates of the folder. Reads haproxy.cfg and the crt-lists again only if they have changed. */
  async #binds(): Promise<readonly TrialBind[]> {
    const { config } = this.settings.files;
    const last = this.#config;
    if (last && (await stampsOf(last.files)) === last.stamp) return last.binds;
    const files = new Set([config]);
    const before = await stampsOf([config]);
    const sections = parseConfig(await readTextIfPresent(config).catch(() => ''), config);
    const folder = this.settings.folders.certs;
    const binds: TrialBind[] = [];
    const known = new Map<string, boolean>();
    const isOurs = (parent: string) => {
      const ours = known.get(parent) ?? isSamePath(parent, folder);
      known.set(parent, ours);
      return ours;
    };
    for (const bind of httpsBinds(sections)) {
      if (bind.certificates.some((path) => isSamePath(path, folder))) {
        binds.push({ ...bind, serves: 'folder' });
        continue;
      }
      // A bind can name files of the folder instead of the folder, itself or in a list.
      const serves = bind.certificates.map((path): CrtListEntry => ({ path, filters: [] }));
      for (const list of bind.lists) {
        files.add(list);
        serves.push(...crtListEntries(await readTextIfPresent(list).catch(() => ''), sections));
      }
      const ours = serves
        .filter(({ path }) => isOurs(dirname(path)))
        .map((entry) => ({ ...entry, path: join(folder, basename(entry.path)) }));
      if (ours.length > 0) binds.push({ ...bind, serves: ours });
    }
    const stamp = await stampsOf([...files]);
    // Not kept if haproxy.cfg changed meanwhile.
    if (stamp.startsWith(before)) this.#config = { stamp, files: [...files], binds };
    return binds;
  }
}

async function stampsOf(files: readonly string[]): Promise<string> {
  return (await Promise.all(files.map(async (file) => (await stampOf(file)) ?? 'none'))).join(' ');
}

function remembered<T>(changes: () => number, read: () => Promise<T>): () => Promise<T> {
  let last: { at: number; changes: number; value: Promise<T> } | undefined;
  return () => {
    if (!last || last.changes !== changes() || Date.now() - last.at > SHARED_MS)
      last = { at: Date.now(), changes: changes(), value: read() };
    return last.value;
  };
}
