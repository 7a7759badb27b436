import { certificateFor } from './host-certificate.js';
import type { HostCertificateDto } from './host-certificate.dto.js';
import { candidatesOf } from '../model/names/domain-match.js';
import { basename } from 'node:path';
import { Injectable } from '@nestjs/common';
import { callContext } from '../contract/call-context.js';
import { messageOf } from '../errors/app-error.js';
import { covers, factsOf, indexedNamesOf, namesOf } from '../haproxy/certificates/certificate-facts.js';
import {
  type BrokenFile,
  CertificateFolder,
  type CertificateFile,
} from '../haproxy/certificates/certificate-folder.js';
import type { TrialResult } from '../haproxy/certificates/certificate-trial.js';
import { ServedCertificates } from '../haproxy/certificates/served-certificates.service.js';
import type { Scope } from '../model/scope/scope.js';
import { Settings } from '../settings/settings.js';
import type { CertificateDto } from './certificates.dto.js';
import { ManagedCertificates } from './managed-certificates.js';
import { alarmOf, type CertificateAlarm, timeLeft } from './renewal-rules.js';

/** How long a list waits for handshakes that were not made yet. The others then have `loaded` null. */
const LIST_WAIT_MS = 2_000;
const HEALTH_WAIT_MS = 1_000;
/** How long an answer about a host waits for them. A handshake takes about 10 ms. */
const HOST_WAIT_MS = 500;
/** Each certificate of a host costs a handshake for each of its names on each bind. */
const MAX_OF_HOST = 8;

/** The certificate for a host, and why it, or what visitors get, is not known. */
export interface CertificateOfHost {
  certificate?: HostCertificateDto;
  certificate_problem?: string;
}

/** The state of one certificate, for health. */
export interface CertificateState {
  domain: string;
  path: string;
  /** Whole days until the certificate expires; negative after that. */
  days_left: number;
  msLeft: number;
  /** Whether the time that is left is normal for the lifetime of the certificate. */
  alarm: CertificateAlarm;
  /** What handshakes showed (`CertificateDto`). */
  loaded: boolean | null;
  /** Where visitors get another certificate or none. */
  served_instead: readonly string[];
  /**
   * Visitors get other certificates for all of its names, and those expire later: this certificate is old and not
   * served.
   */
  superseded: boolean;
  /** The message of the last failed renewal. */
  problem?: string;
}

export interface CertificateExpiry {
  /** Whole days; negative after the end. */
  daysLeft: number;
  alarm: CertificateAlarm;
}

/** Certificates as callers see them: the file, whether visitors get it, and whether the suite renews it. */
@Injectable()
export class CertificateViews {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly served: ServedCertificates,
    private readonly settings: Settings,
  ) {}

  /** All certificates of the folder that the caller may see, sorted by domain and path. */
  async files(): Promise<CertificateFile[]> {
    return visibleFiles((await this.folder.list()).files);
  }

  /**
   * The certificate for a host. Makes the handshakes now, so `loaded` says what visitors get. An answer about a host must
   * not depend on its certificate: never fails, and waits for handshakes only a short time.
   */
  async ofHost(host: string): Promise<CertificateOfHost> {
    try {
      const { files, broken } = await this.folder.list();
      const found = await Promise.all(
        withName(visibleFiles(files), host).map(async (file) =>
          this.#view(file, await this.served.tryWithin(file, files, HOST_WAIT_MS), broken),
        ),
      );
      const certificate = certificateFor(found, host);
      const problem = found.find(({ domain }) => domain === certificate?.domain)?.not_tried[0];
      return {
        ...(certificate && { certificate }),
        ...(certificate?.loaded === null && problem !== undefined && { certificate_problem: problem }),
      };
    } catch (error) {
      return { certificate_problem: `The certificate folder could not be read: ${messageOf(error)}` };
    }
  }

  /** The files with a certificate that has the host or its wildcard as a name, at most 8. */
  async filesOfHost(host: string): Promise<CertificateFile[]> {
    return withName(await this.files(), host);
  }

  /** Waits at most two seconds for handshakes; results from the last seconds are used. */
  async many(files: readonly CertificateFile[]): Promise<CertificateDto[]> {
    const { broken } = await this.folder.list();
    const results = await this.served.results(files, LIST_WAIT_MS);
    return files.map((file) => this.#view(file, results.get(file.path), broken));
  }

  /** Makes the handshakes now. @throws AppError certificate_not_found */
  async one(name: string): Promise<CertificateDto> {
    const { files, broken } = await this.folder.list();
    const file = this.folder.findIn(visibleFiles(files), name);
    if (!file) throw this.folder.notFound(name);
    return this.#view(file, await this.served.try(file, files), broken);
  }

  /**
   * A certificate before a change of it; undefined if there is none. Makes no handshake: `loaded` is null, if no one
   * asked within the last second.
   */
  async former(name: string): Promise<CertificateDto | undefined> {
    const { files, broken } = await this.folder.list();
    const file = this.folder.findIn(visibleFiles(files), name);
    return file && this.#view(file, await this.served.known(file, files), broken);
  }

  async states(): Promise<{ certificates: readonly CertificateState[]; broken: readonly BrokenFile[] }> {
    const { files, broken } = await this.folder.list();
    const results = await this.served.results(files, HEALTH_WAIT_MS);
    const byPath = new Map(files.map((file) => [file.path, file]));
    const { renewDays } = this.settings.acme;
    const certificates = visibleFiles(files).map((file): CertificateState => {
      const { domain, path, leaf } = file;
      const result = results.get(path);
      const problem = this.#managed(file)?.last_error?.detail;
      return {
        domain,
        path,
        days_left: factsOf(leaf).days_left,
        msLeft: timeLeft(leaf),
        alarm: alarmOf(leaf, renewDays),
        loaded: result?.loaded ?? null,
        served_instead: shownInstead(result),
        superseded: isSuperseded(file, result, byPath),
        ...(problem !== undefined && { problem }),
      };
    });
    return { certificates, broken };
  }

  /** When the certificate of each domain expires; of several the one that is read first (`CertificateFolder.find`). */
  async expiries(): Promise<Map<string, CertificateExpiry>> {
    const found = new Map<string, CertificateExpiry>();
    for (const { domain, path, leaf } of await this.files()) {
      const daysLeft = factsOf(leaf).days_left;
      const other = found.get(domain)?.daysLeft ?? Number.NEGATIVE_INFINITY;
      if (path === this.folder.pathOf(domain) || daysLeft > other)
        found.set(domain, { daysLeft, alarm: alarmOf(leaf, this.settings.acme.renewDays) });
    }
    return found;
  }

  #view(
    file: CertificateFile,
    result: TrialResult | undefined,
    broken: readonly BrokenFile[],
  ): CertificateDto {
    const { domain, leaf, path } = file;
    const managed = this.#managed(file);
    const problem = broken.find((other) => other.path === path);
    return {
      domain,
      ...factsOf(leaf),
      loaded: result?.loaded ?? null,
      not_tried: result?.not_tried ?? [],
      served_instead: [...shownInstead(result)],
      auto_renew: managed !== undefined,
      path,
      ...(problem && {
        problem: `HAProxy does not start with ${basename(path)}: ${problem.reason}. Correct or delete the file.`,
      }),
      ...(managed?.last_error && { last_error: `${managed.last_error.code}: ${managed.last_error.detail}` }),
    };
  }

  #managed({ domain, path }: CertificateFile) {
    return path === this.folder.pathOf(domain) ? this.managed.get(domain) : undefined;
  }
}

/** Where visitors get another certificate. It names other certificates, so a caller limited to some domains gets none. */
function shownInstead(result: TrialResult | undefined): readonly string[] {
  return callContext().scope?.limitsDomains === true ? [] : (result?.served_instead ?? []);
}

/** The certificates of which every name is in the scope of the current caller; all of them without a limit. */
function visibleFiles(files: readonly CertificateFile[]): CertificateFile[] {
  const { scope } = callContext();
  if (!scope?.limitsDomains) return [...files];
  return files.filter((file) => isCertificateInScope(file, scope));
}

/** Whether every name of a certificate is in scope. */
export function isCertificateInScope(
  { domain, leaf }: Pick<CertificateFile, 'domain' | 'leaf'>,
  scope: Scope,
): boolean {
  const names = [domain, ...namesOf(leaf), ...indexedNamesOf(leaf)];
  return scope.includesAll(names.map((name) => name.toLowerCase()));
}

/** The files with a certificate that has the host or its wildcard as a name, at most 8. */
function withName(files: readonly CertificateFile[], host: string): CertificateFile[] {
  const wanted = candidatesOf(host);
  return files.filter(({ leaf }) => wanted.some((name) => covers(leaf, [name]))).slice(0, MAX_OF_HOST);
}

function isSuperseded(
  { leaf }: CertificateFile,
  result: TrialResult | undefined,
  files: ReadonlyMap<string, CertificateFile>,
): boolean {
  if (result?.loaded !== false || result.unserved) return false;
  const winners = result.winners ?? [];
  return (
    winners.length > 0 &&
    winners.every((path) => {
      const winner = files.get(path);
      return winner !== undefined && Date.parse(winner.leaf.validTo) > Date.parse(leaf.validTo);
    })
  );
}
