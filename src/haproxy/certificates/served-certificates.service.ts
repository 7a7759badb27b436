import type { X509Certificate } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { dnsNamesOf } from './certificate-facts.js';
import { CertificateFolder, type CertificateFile } from './certificate-folder.js';
import { CertificateTrial, type TrialContext, type TrialResult } from './certificate-trial.js';
import { TrialContexts } from './trial-contexts.js';

/** How many certificates the background tries at the same time. */
const CONCURRENCY = 4;
/** A result is tried again after this time, or later if trying all certificates takes long. */
const MIN_AGE_MS = 1_000;
/** The background spends at most one part in this many on handshakes. */
const AGE_FACTOR = 20;

const NOT_YET: TrialResult = {
  loaded: null,
  not_tried: ['not tried yet since the last change; {haproxy_cert_info} tries it now'],
  served_instead: [],
};

interface KnownResult {
  fingerprint: string;
  /** Names of the certificate. A change of another certificate for one of them makes the result invalid. */
  names: readonly string[];
  /** The HAProxy process and the binds that were tried. */
  context: string;
  at: number;
  result: TrialResult;
}

/**
 * Which certificate visitors get: the result of TLS handshakes with HAProxy. One certificate is tried on request. For
 * lists, results are kept and refreshed in the background, so that a list of 1,000 certificates does not make 1,000
 * handshakes.
 */
@Injectable()
export class ServedCertificates {
  readonly #known = new Map<string, KnownResult>();
  readonly #limit = pLimit(CONCURRENCY);
  /** Files that the background is trying, by path. */
  readonly #running = new Map<string, Promise<void>>();
  /** The mean time of one trial. */
  #trialMs = 20;
  /** Files whose trial takes longer than a caller of `tryWithin` waited. */
  readonly #late = new Set<string>();
  /** Grows with each change, so that a trial that began before the change is not kept. */
  #changes = 0;

  constructor(
    private readonly folder: CertificateFolder,
    private readonly contexts: TrialContexts,
  ) {}

  /**
   * Tries a certificate now, with a handshake for each of its names on each bind. `files`: all certificates of the
   * folder, to name the one that visitors get. Never fails.
   */
  async try(file: CertificateFile, files: readonly CertificateFile[]): Promise<TrialResult> {
    const context = await this.#openContext(files);
    return this.#try(file, context);
  }

  /**
   * As `try`, but waits at most `waitMs` milliseconds, and not at all while an earlier trial of this file is late: HAProxy
   * can accept connections and not answer.
   */
  async tryWithin(
    file: CertificateFile,
    files: readonly CertificateFile[],
    waitMs: number,
  ): Promise<TrialResult> {
    const late: TrialResult = {
      loaded: null,
      not_tried: [`HAProxy did not answer a TLS handshake within ${waitMs} ms`],
      served_instead: [],
    };
    if (this.#late.has(file.path)) return late;
    const trial = this.try(file, files);
    const stop = new AbortController();
    const limit = delay(waitMs, late, { signal: stop.signal }).catch(() => late);
    const result = await Promise.race([trial, limit]).finally(() => stop.abort());
    if (result === late) {
      this.#late.add(file.path);
      void trial.finally(() => this.#late.delete(file.path));
    }
    return result;
  }

  /**
   * The results for these certificates, by path. Starts to try those without a recent result, and waits for them at most
   * `waitMs` milliseconds. A certificate without a result has `loaded` null.
   */
  async results(files: readonly CertificateFile[], waitMs: number): Promise<Map<string, TrialResult>> {
    if (files.length === 0) return new Map();
    const context = await this.#openContext((await this.folder.list()).files);
    const due = files.filter((file) => !this.#isRecent(file, context, files.length));
    const trials = due.map((file) => this.#inBackground(file, context));
    if (trials.length > 0) {
      const stop = new AbortController();
      await Promise.race([
        Promise.all(trials),
        delay(waitMs, undefined, { signal: stop.signal }).catch(() => undefined),
      ]);
      stop.abort();
    }
    return new Map(files.map((file) => [file.path, this.#kept(file, context)?.result ?? NOT_YET]));
  }

  /** The result of the last handshakes since the last change, at most a second old. Makes no handshake. */
  async known(file: CertificateFile, files: readonly CertificateFile[]): Promise<TrialResult> {
    const context = await this.#openContext(files);
    return this.#isRecent(file, context, 1) ? (this.#kept(file, context)?.result ?? NOT_YET) : NOT_YET;
  }

  /** Forgets the results that a change of `certificate` in HAProxy may have changed. */
  forget(certificate: X509Certificate | undefined): void {
    this.#changes += 1;
    if (!certificate) {
      this.#known.clear();
      return;
    }
    const names = new Set(dnsNamesOf(certificate));
    for (const [path, { names: others }] of this.#known)
      if (others.some((other) => overlaps(other, names))) this.#known.delete(path);
  }

  async #openContext(files: readonly CertificateFile[]): Promise<TrialContext> {
    return this.contexts.open(files, () => this.#changes);
  }

  async #try(file: CertificateFile, context: TrialContext): Promise<TrialResult> {
    const changes = this.#changes;
    const started = performance.now();
    const result = await new CertificateTrial(file, context).run();
    this.#trialMs = 0.9 * this.#trialMs + 0.1 * (performance.now() - started);
    if (changes === this.#changes)
      this.#known.set(file.path, {
        fingerprint: file.leaf.fingerprint256,
        names: dnsNamesOf(file.leaf),
        context: context.id,
        at: Date.now(),
        result,
      });
    return result;
  }

  #inBackground(file: CertificateFile, context: TrialContext): Promise<void> {
    const running = this.#running.get(file.path);
    if (running) return running;
    const trial = this.#limit(() => this.#try(file, context))
      .then(() => undefined)
      .finally(() => this.#running.delete(file.path));
    this.#running.set(file.path, trial);
    return trial;
  }

  #isRecent(file: CertificateFile, context: TrialContext, count: number): boolean {
    const known = this.#kept(file, context);
    const maxAge = Math.max(MIN_AGE_MS, (AGE_FACTOR * count * this.#trialMs) / CONCURRENCY);
    return known !== undefined && Date.now() - known.at < maxAge;
  }

  #kept({ path, leaf }: CertificateFile, context: TrialContext): KnownResult | undefined {
    const known = this.#known.get(path);
    return known?.fingerprint === leaf.fingerprint256 && known.context === context.id ? known : undefined;
  }
}

/** Whether a client that asks for `name` could get a certificate with one of `names` instead. */
function overlaps(name: string, names: ReadonlySet<string>): boolean {
  if (names.has(name)) return true;
  const parent = name.replace(/^[^.]*\./, '');
  if (names.has(`*.${parent}`)) return true;
  return name.startsWith('*.') && [...names].some((other) => other.replace(/^[^.]*\./, '') === parent);
}
