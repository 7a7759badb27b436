import pLimit from 'p-limit';
import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../../errors/app-error.js';
import { storageError } from '../../errors/storage-error.js';
import { covers } from '../../haproxy/certificates/certificate-facts.js';
import { AcmeChallenges } from '../../haproxy/certificates/acme-challenges.service.js';
import { type CertificateBundle, parseBundle } from '../../haproxy/certificates/pem.js';
import type { JobContext } from '../../jobs/running-job.js';
import { Settings } from '../../settings/settings.js';
import { acmeCancelled, acmeFailed, acmeTimedOut } from './acme-errors.js';
import { AcmeHome } from './acme-home.js';
import { DEFAULT_PATH, findAcmeScript } from './acme-script.js';
import { shimEnvironment, writeShim } from './acme-shim.js';
import { type Challenge, challengeFor, type WantedChallenge } from './challenge.js';
import { checkCloudflare, NoZoneError, requireCloudflareCredentials } from './cloudflare-check.js';
import { checkHttpChallenge } from './http-challenge.js';
import { type ProcessGroupResult, runProcessGroup } from './process-group.js';

/** Exit codes of acme.sh: success, and "the certificate is not due for renewal" (RENEW_SKIP). */
const SUCCESS = 0;
const NOT_DUE = 2;

/** The host of Google Trust Services, which acme.sh calls `google`. */
const GOOGLE = 'dv.acme-v02.api.pki.goog';

function isGoogle(server: string): boolean {
  return server === 'google' || server.includes(`//${GOOGLE}/`);
}

interface IssueRequest {
  domain: string;
  wildcard: boolean;
  challenge: WantedChallenge;
  /** Request a new certificate even if acme.sh has a valid certificate that is not due. */
  force: boolean;
}

/** One request of a certificate, which may need several runs of acme.sh. */
interface Run {
  script: string;
  domain: string;
  job: JobContext;
  /** When the request began (`performance.now()`). */
  started: number;
}

/**
 * Gets certificates from a CA with acme.sh: one run at a time, with a time limit. A failure leaves the folder of
 * acme.sh as it was.
 */
@Injectable()
export class AcmeService {
  readonly #logger = new Logger('acme.sh');
  readonly #queue = pLimit(1);
  readonly #home: AcmeHome;
  readonly #secrets: readonly string[];

  constructor(
    private readonly settings: Settings,
    private readonly challenges: AcmeChallenges,
  ) {
    const { acme } = settings;
    this.#home = new AcmeHome(acme.home, acme.keyLength.startsWith('ec-'));
    const values = acme.hookVariables.map((name) => acme.environment[name] ?? '');
    this.#secrets = [...values, acme.eab?.hmacKey ?? '']
      .filter((value) => value.length >= 4)
      .toSorted((a, b) => b.length - a.length);
  }

  /**
   * Gets a new certificate for the domain and calls `install` with it. If either fails, the folder of acme.sh is
   * restored.
   *
   * @throws AppError acme_failed, acme_timeout, storage_failed, or the errors of `install`
   */
  issue<T>(
    request: IssueRequest,
    job: JobContext,
    install: (bundle: CertificateBundle) => Promise<T>,
  ): Promise<T> {
    return this.#queue(async () => {
      const script = await findAcmeScript(this.settings.acme);
      if (job.signal.aborted) throw acmeCancelled();
      await this.#prepareHome(request.domain);
      try {
        const bundle = await this.#obtain(script, request, job);
        const result = await install(bundle);
        await this.#home.deleteBackup(request.domain);
        return result;
      } catch (error) {
        await this.#home.restoreBackup(request.domain);
        throw error;
      }
    });
  }

  /**
   * Checks what can be known before a request: acme.sh, the credentials for DNS, and the external account that the CA
   * needs.
   *
   * @throws AppError acme_failed, which names what is missing; validation_failed (a wildcard with HTTP-01)
   */
  async requireReady(request: Pick<IssueRequest, 'domain' | 'wildcard' | 'challenge'>): Promise<void> {
    const { acme } = this.settings;
    const { domain } = request;
    const challenge = challengeFor(request, acme);
    await findAcmeScript(acme);
    if (challenge === 'dns-01' && acme.dns === 'dns_cf') requireCloudflareCredentials(acme, domain);
    if (!isGoogle(acme.server) || acme.eab || (await this.#home.hasAccount(GOOGLE, acme.server))) return;
    throw new AppError(
      'acme_failed',
      `No certificate can be issued for ${domain}: ${acme.server} needs an account that is bound to an external account. ` +
        'Set ACME_EAB_KID, ACME_EAB_HMAC_KEY and ACME_EMAIL to the values that Google gave you, or set ' +
        'ACME_SERVER=letsencrypt, which needs none, and restart the suite.',
    );
  }

  /** Deletes the domain from the folder of acme.sh, also while acme.sh runs for another domain. Revokes nothing. */
  async forget(domain: string): Promise<void> {
    await this.#home.deleteDomain(domain);
  }

  /** After a suite was killed: stops its acme.sh and restores its backups. Call it at start, before `issue`. */
  async recover(): Promise<void> {
    await this.#home.recover();
  }

  async #prepareHome(domain: string): Promise<void> {
    try {
      await this.#home.createFolders();
      await this.#home.killOrphan();
      await writeShim(this.#home.shim);
      await this.#home.backUp(domain);
    } catch (error) {
      throw storageError(error);
    }
  }

  async #obtain(script: string, request: IssueRequest, job: JobContext): Promise<CertificateBundle> {
    const { domain } = request;
    const run: Run = { script, domain, job, started: performance.now() };
    if ((await this.#chooseChallenge(request, job)) === 'dns-01') {
      await this.#register(run);
      return this.#request(run, request, 'dns-01');
    }
    try {
      job.progress('Checking that challenges reach this HAProxy');
      await checkHttpChallenge(domain, this.settings, this.challenges, job.signal);
      // Each time, because without an account acme.sh makes a new one, whose thumbprint HAProxy does not know.
      await this.challenges.answer(domain, await this.#thumbprint(run));
      return await this.#request(run, request, 'http-01');
    } finally {
      await this.challenges.withdraw(domain).catch((error: unknown) => {
        this.#logger.warn(`HAProxy still answers ACME challenges for ${domain}: ${messageOf(error)}`);
      });
    }
  }

  /** @throws AppError acme_failed, validation_failed */
  async #chooseChallenge(request: IssueRequest, job: JobContext): Promise<Challenge> {
    const { domain, wildcard, challenge: wanted } = request;
    const challenge = challengeFor(request, this.settings.acme);
    if (challenge === 'http-01' || this.settings.acme.dns !== 'dns_cf') return challenge;
    job.progress('Looking up the zone at Cloudflare');
    try {
      await checkCloudflare(this.settings.acme, domain, this.#environment(), job.signal);
    } catch (error) {
      if (!(error instanceof NoZoneError) || wanted !== 'auto' || wildcard) throw error;
      job.progress(`Cloudflare has no zone for ${domain} with this token, so the challenge is http-01`);
      return 'http-01';
    }
    return challenge;
  }

  async #request(run: Run, request: IssueRequest, challenge: Challenge): Promise<CertificateBundle> {
    const { domain, wildcard, force } = request;
    const names = wildcard ? [domain, `*.${domain}`] : [domain];
    run.job.progress(
      `Requesting a certificate for ${names.join(' and ')} from ${this.settings.acme.server} (${challenge})`,
    );
    let { exitCode } = await this.#run(run, this.#issueArguments(names, challenge, force), challenge);
    let bundle = await this.#readValid(names);
    if (exitCode === NOT_DUE && !bundle) {
      // acme.sh decides by its own record of the domain. After a killed run its files may not match the record.
      ({ exitCode } = await this.#run(run, this.#issueArguments(names, challenge, true), challenge));
      bundle = await this.#readValid(names);
    }
    if (!bundle)
      throw new AppError(
        'acme_failed',
        `acme.sh reported success for ${domain}, but there is no valid certificate for it in ${this.#home.path}. ` +
          'HAProxy and the certificate files are unchanged. Set LOG_LEVEL=DEBUG to see all output of acme.sh in the ' +
          'log, then try again.',
      );
    return bundle;
  }

  /** The certificate of acme.sh for these names; undefined if it is incomplete, covers other names or has expired. */
  async #readValid(names: readonly string[]): Promise<CertificateBundle | undefined> {
    const text = await this.#home.readPem(names[0] ?? '');
    if (text === undefined) return undefined;
    try {
      const bundle = parseBundle(text);
      return covers(bundle.leaf, names) && Date.parse(bundle.leaf.validTo) > Date.now() ? bundle : undefined;
    } catch {
      return undefined;
    }
  }

  /** Binds the account of acme.sh to the external account, once per server and key id. */
  async #register(run: Run): Promise<void> {
    const { eab, server } = this.settings.acme;
    if (eab && !(await this.#home.isRegistered(server, eab.kid))) await this.#registerNow(run);
  }

  async #registerNow(run: Run): Promise<string> {
    const { eab, server, email } = this.settings.acme;
    run.job.progress(`Registering at ${server}${eab ? ` with the external account ${eab.kid}` : ''}`);
    const args = [
      '--register-account',
      ...this.#commonArguments(),
      ...(email === undefined ? [] : ['-m', email]),
    ];
    const { output } = await this.#run(run, args, 'dns-01');
    if (eab)
      await this.#home.recordRegistration(server, eab.kid).catch((error: unknown) => {
        throw storageError(error);
      });
    return output;
  }

  /** The thumbprint of the account at the CA (RFC 7638). acme.sh makes the account if there is none. */
  async #thumbprint(run: Run): Promise<string> {
    const output = await this.#registerNow(run);
    const thumbprint = /ACCOUNT_THUMBPRINT='(?<value>[A-Za-z0-9_-]{43})'/.exec(output)?.groups?.['value'];
    if (thumbprint === undefined)
      throw new AppError(
        'acme_failed',
        `acme.sh registered an account at ${this.settings.acme.server}, but printed no ACCOUNT_THUMBPRINT, which the ` +
          'challenge http-01 needs. Use acme.sh 3.0 or newer (ACME_SH).',
      );
    return thumbprint;
  }

  #issueArguments(names: readonly string[], challenge: Challenge, force: boolean): string[] {
    const { dns, dnsSleep, keyLength, email } = this.settings.acme;
    return [
      '--issue',
      ...this.#commonArguments(),
      ...(challenge === 'http-01'
        ? ['--stateless', '--log', this.#home.runLog, '--log-level', '2']
        : ['--dns', dns, ...(dnsSleep === undefined ? [] : ['--dnssleep', String(dnsSleep)])]),
      '--keylength',
      keyLength,
      ...(email === undefined ? [] : ['--accountemail', email]),
      ...names.flatMap((name) => ['-d', name]),
      ...(force ? ['--force'] : []),
    ];
  }

  #commonArguments(): string[] {
    const { server, caBundle } = this.settings.acme;
    const { path, config, certificates } = this.#home;
    return [
      '--home',
      path,
      '--config-home',
      config,
      '--cert-home',
      certificates,
      '--server',
      server,
      '--no-color',
      ...(caBundle === undefined ? [] : ['--ca-bundle', caBundle]),
    ];
  }

  #environment(): Record<string, string> {
    const { environment, eab } = this.settings.acme;
    return {
      HOME: this.#home.path,
      LANG: 'C',
      ...environment,
      ...shimEnvironment(this.#home.shim, environment['PATH'] ?? DEFAULT_PATH, eab),
    };
  }

  /**
   * Runs acme.sh. ACME_TIMEOUT limits all runs of one request together.
   *
   * @throws AppError acme_failed, acme_timeout
   */
  async #run(
    { script, domain, job, started }: Run,
    args: string[],
    challenge: Challenge,
  ): Promise<ProcessGroupResult> {
    const { timeoutSeconds, server } = this.settings.acme;
    let pidRecorded: Promise<void> | undefined;
    const result = await runProcessGroup(script, args, {
      env: this.#environment(),
      cwd: this.#home.path,
      signal: job.signal,
      timeoutMs: Math.max(1, timeoutSeconds * 1000 - (performance.now() - started)),
      onStart: (pid) => {
        pidRecorded = this.#home.recordPid(pid).catch(() => undefined);
      },
      onLine: (line) => this.#report(line, job),
    }).catch((error: unknown) => {
      throw new AppError(
        'acme_failed',
        `${script} could not be started: ${messageOf(error)}. HAProxy and the certificate files are unchanged. Check ` +
          'ACME_SH and the permissions of the file, then try again.',
      );
    });
    await pidRecorded;
    await this.#home.deletePid();
    // It has what acme.sh leaves out of its output: the whole error of the CA.
    const log = await this.#home.takeRunLog();
    if (result.end === 'timeout') throw acmeTimedOut(domain, timeoutSeconds);
    if (result.end === 'cancelled') throw acmeCancelled();
    if (result.exitCode !== SUCCESS && result.exitCode !== NOT_DUE)
      throw acmeFailed({
        domain,
        server,
        challenge,
        output: this.#redact(result.output),
        log: this.#redact(log),
      });
    return result;
  }

  /** Logs a line of acme.sh, and reports it as progress if it has a date. Lines without a date are the certificate. */
  #report(line: string, { progress }: JobContext): void {
    const safe = this.#redact(line);
    this.#logger.debug(safe);
    // `[Mon Nov 23 14:00:00 UTC 2026] Verifying: example.com`
    const message = /^\[[^\]]{10,40}\] ?(?<message>.{1,200})/.exec(safe)?.groups?.['message'];
    if (message !== undefined) progress(message);
  }

  #redact(text: string): string {
    let safe = text.replaceAll(
      /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
      '[key]',
    );
    for (const secret of this.#secrets) safe = safe.replaceAll(secret, '[secret]');
    return safe;
  }
}
