import { randomBytes } from 'node:crypto';
import pLimit from 'p-limit';
import type { CrtListEntry, HttpsBind } from '../config/https-binds.js';
import type { HaproxyCertificate } from '../parsers/ssl-cert.parser.js';
import { bindKey, chosenEntry, type SniEntry } from '../parsers/ssl-sni.parser.js';
import { dnsNamesOf, keyKindOf, type KeyKind } from './certificate-facts.js';
import type { CertificateFile } from './certificate-folder.js';
import { handshake } from './tls-handshake.js';

/** Handshakes of one certificate at the same time. */
const CONCURRENCY = 8;
/** How many names and binds an answer lists. */
const SHOWN = 10;

/** What a trial of a certificate found. */
export interface TrialResult {
  /** Whether visitors get the certificate for each of its names on each bind that was tried; null if none was. */
  loaded: boolean | null;
  /** The binds and names that could not be tried, each with the reason. */
  not_tried: string[];
  /** Where visitors get another certificate or none, and which. */
  served_instead: string[];
  /** Paths of the other certificates that visitors get. */
  winners?: string[];
  /** Whether a name has no certificate at all on one of the binds. */
  unserved?: boolean;
}

/** A bind that serves certificates of the folder: all, or these, with their paths in the folder. */
export interface TrialBind extends HttpsBind {
  serves: 'folder' | readonly CrtListEntry[];
}

/** What a trial needs to know about HAProxy. */
export interface TrialContext {
  /** Identifies the process and the binds. */
  id: string;
  binds: readonly TrialBind[];
  /** Undefined if the Runtime API does not answer. */
  version: string | undefined;
  /** `show ssl sni`, by bind; undefined if HAProxy does not have this command. */
  sni: (() => Promise<Map<string, SniEntry[]>>) | undefined;
  /** The certificate that HAProxy has in memory under this name. */
  inHaproxy: (name: string) => Promise<HaproxyCertificate | undefined>;
  /** The file with this SHA-256 fingerprint. */
  pathOf: (fingerprint: string) => string | undefined;
}

/** One trial of one certificate: a TLS handshake for each name on each bind. */
export class CertificateTrial {
  readonly #kind: KeyKind;
  readonly #limit = pLimit(CONCURRENCY);
  readonly #notTried = new Set<string>();
  readonly #instead = new Set<string>();
  readonly #winners = new Set<string>();
  readonly #current = new Map<string, Promise<boolean>>();
  #unserved = false;
  #tried = 0;

  constructor(
    private readonly file: CertificateFile,
    private readonly context: TrialContext,
  ) {
    this.#kind = keyKindOf(file.leaf);
  }

  async run(): Promise<TrialResult> {
    const binds = this.context.binds.flatMap((bind) => {
      const names = this.#namesOn(bind);
      return names ? [{ bind, names }] : [];
    });
    if (binds.length === 0) this.#notTried.add('no bind of haproxy.cfg serves this certificate');
    await Promise.all(
      binds.map(({ bind, names }) => {
        if (bind.quic) return this.#tryQuic(bind, names);
        if (names.length === 0) return this.#tryWithoutName(bind);
        return this.#tryNames(bind, names);
      }),
    );
    return {
      loaded: this.#tried === 0 ? null : this.#instead.size === 0,
      not_tried: shown(this.#notTried),
      served_instead: shown(this.#instead),
      winners: [...this.#winners],
      unserved: this.#unserved,
    };
  }

  /** The names to try on a bind: those of the certificate, or the filters of a crt-list. Undefined: it is not served there. */
  #namesOn({ serves }: TrialBind): readonly string[] | undefined {
    const own = dnsNamesOf(this.file.leaf);
    if (serves === 'folder') return own;
    const entries = serves.filter(({ path }) => path === this.file.path);
    if (entries.length === 0) return undefined;
    return [...new Set(entries.flatMap(({ filters }) => (filters.length > 0 ? filters : own)))];
  }

  async #tryNames(bind: HttpsBind, names: readonly string[]): Promise<void> {
    let isDead = false;
    await Promise.all(
      names.map((name) =>
        this.#limit(async () => {
          if (!isDead) isDead = !(await this.#tryName(bind, name));
        }),
      ),
    );
  }

  /** Returns whether the bind answered. */
  async #tryName(bind: HttpsBind, name: string): Promise<boolean> {
    if (!('port' in bind.target)) return this.#skip(bind, bind.target.reason);
    const asked = name.startsWith('*.') ? `suite-${randomBytes(5).toString('hex')}${name.slice(1)}` : name;
    const own = this.file.leaf.fingerprint256;
    const modern = await handshake(bind.target, asked);
    if ('failed' in modern) return this.#skip(bind, modern.failed);
    if (!modern.certificate && bind.verifiesClients)
      return this.#skip(bind, `it needs a client certificate (${modern.refused})`);
    this.#tried += 1;
    // HAProxy has no ECDSA certificate for the name if this one is RSA. So clients without ECDSA get it too.
    if (modern.certificate?.fingerprint256 === own) return true;
    // HAProxy prefers an ECDSA certificate. It may be the twin of this one, and not a wildcard that hides it.
    const isTwin =
      modern.certificate !== undefined &&
      dnsNamesOf(modern.certificate).includes(name) &&
      keyKindOf(modern.certificate) === 'ecdsa';
    if (this.#kind === 'ecdsa') {
      this.#lost(bind, name, modern.certificate && this.#nameOf(modern.certificate));
      return true;
    }
    const old = await handshake(bind.target, asked, this.#kind);
    if ('failed' in old) return this.#skip(bind, old.failed);
    if (old.certificate?.fingerprint256 !== own)
      this.#lost(bind, name, old.certificate && this.#nameOf(old.certificate));
    else if (modern.certificate && !isTwin)
      this.#lost(bind, `${name} (clients with ECDSA)`, this.#nameOf(modern.certificate));
    return true;
  }

  /** A certificate without a DNS name can only be the default certificate of a bind. */
  async #tryWithoutName(bind: HttpsBind): Promise<void> {
    if (!('port' in bind.target)) return void this.#skip(bind, bind.target.reason);
    const result = await handshake(bind.target, undefined, this.#kind);
    if (result.certificate?.fingerprint256 === this.file.leaf.fingerprint256) this.#tried += 1;
    else
      this.#skip(
        bind,
        'the certificate has no DNS name, and HAProxy serves it only as the default certificate of a bind',
      );
  }

  /** Node.js has no HTTP/3, so HAProxy itself says which certificate it chooses. */
  async #tryQuic(bind: HttpsBind, names: readonly string[]): Promise<void> {
    const { sni, version } = this.context;
    if (!sni)
      return void this.#skip(
        bind,
        version === undefined
          ? 'HAProxy does not answer'
          : `HAProxy ${version} does not show which certificates HTTP/3 clients get (3.2 and newer do)`,
      );
    const { path } = this.file;
    if (names.length === 0) return void this.#skip(bind, 'the certificate has no DNS name');
    try {
      const entries = (await sni()).get(bindKey(bind.frontend, bind.line)) ?? [];
      // Normally one name: HAProxy has a certificate several times if binds name the folder in several ways.
      const own = new Set(entries.filter((entry) => entry.path === path).map((entry) => entry.certificate));
      const current = new Set<string>();
      for (const name of own) if (await this.#isCurrent(name)) current.add(name);
      for (const name of names) {
        this.#tried += 1;
        const first = entries.find((entry) => entry.name === name && entry.kind === this.#kind);
        const chosen = chosenEntry(entries, name);
        if (!first) this.#lost(bind, name, chosen?.path);
        else if (first.path !== path) this.#lost(bind, name, first.path);
        else if (!current.has(first.certificate)) this.#lost(bind, name, `an earlier certificate of ${path}`);
        // An ECDSA certificate that is not the twin of this one hides it.
        else if (chosen && chosen.path !== path && (chosen.kind !== 'ecdsa' || chosen.name !== name))
          this.#lost(bind, `${name} (clients with ECDSA)`, chosen.path);
      }
    } catch {
      this.#skip(bind, 'HAProxy does not answer');
    }
  }

  /** Whether HAProxy has this certificate in memory under the name. Asks once for all binds. */
  #isCurrent(name: string): Promise<boolean> {
    const asked =
      this.#current.get(name) ??
      this.context
        .inHaproxy(name)
        .then((found) => found?.fingerprint === this.file.leaf.fingerprint.replaceAll(':', ''));
    this.#current.set(name, asked);
    return asked;
  }

  #skip({ address }: HttpsBind, reason: string): false {
    this.#notTried.add(`${address}: ${reason}`);
    return false;
  }

  #lost({ address }: HttpsBind, name: string, winner: string | undefined): void {
    this.#instead.add(`${name} on ${address}: visitors get ${winner ?? 'no certificate'}`);
    if (winner === undefined) this.#unserved = true;
    else this.#winners.add(winner);
  }

  #nameOf({ fingerprint256, serialNumber }: { fingerprint256: string; serialNumber: string }): string {
    return this.context.pathOf(fingerprint256) ?? `the certificate with the serial number ${serialNumber}`;
  }
}

function shown(texts: ReadonlySet<string>): string[] {
  const all = [...texts];
  return all.length <= SHOWN ? all : [...all.slice(0, SHOWN), `and ${all.length - SHOWN} more`];
}
