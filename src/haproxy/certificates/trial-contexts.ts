import { dirname } from 'node:path';
import { Injectable } from '@nestjs/common';
import { isSamePath } from '../../lib/same-path.js';
import { Settings } from '../../settings/settings.js';
import { parseConfig } from '../config/config-parser.js';
import { type HttpsBind, httpsBinds } from '../config/https-binds.js';
import { readTextIfPresent } from '../config/operator-config.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { isSameProcess, type ProcessIdentity } from '../runtime/process-identity.js';
import type { CertificateFile } from './certificate-folder.js';
import { stampOf } from './certificate-file.js';
import { isAtLeast, parseVersion } from '../parsers/version.parser.js';
import type { TrialContext } from './certificate-trial.js';
import { HaproxyCertificatesService } from './haproxy-certificates.service.js';

/** Trials share an output of HAProxy that lists all certificates for this long. */
const SHARED_MS = 1_000;

/** What trials of certificates share: the binds of haproxy.cfg and the running HAProxy process. */
@Injectable()
export class TrialContexts {
  #config: { stamp: string; binds: readonly HttpsBind[] } | undefined;
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

  /** The binds that serve certificates of the folder. Reads haproxy.cfg again only if it has changed. */
  async #binds(): Promise<readonly HttpsBind[]> {
    const { config } = this.settings.files;
    const stamp = (await stampOf(config)) ?? '';
    if (this.#config?.stamp === stamp) return this.#config.binds;
    const text = await readTextIfPresent(config).catch(() => '');
    const folder = this.settings.folders.certs;
    const binds: HttpsBind[] = [];
    for (const bind of httpsBinds(parseConfig(text, config))) {
      if (bind.certificates.some((path) => isSamePath(path, folder)))
        binds.push({ ...bind, certificates: [] });
      // A bind can name a file of the folder instead of the folder.
      else if (bind.certificates.some((path) => isSamePath(dirname(path), folder))) binds.push(bind);
    }
    this.#config = { stamp, binds };
    return binds;
  }
}

function remembered<T>(changes: () => number, read: () => Promise<T>): () => Promise<T> {
  let last: { at: number; changes: number; value: Promise<T> } | undefined;
  return () => {
    if (!last || last.changes !== changes() || Date.now() - last.at > SHARED_MS)
      last = { at: Date.now(), changes: changes(), value: read() };
    return last.value;
  };
}
