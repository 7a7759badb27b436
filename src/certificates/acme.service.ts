import { Injectable, Logger } from '@nestjs/common';
import pLimit from 'p-limit';
import { AppError, messageOf } from '../errors/app-error.js';
import { storageError } from '../errors/storage-error.js';
import { Settings } from '../settings/settings.js';
import { explainFailure, timedOut } from './acme-errors.js';
import { AcmeHome } from './acme-home.js';
import { DEFAULT_PATH, findAcmeScript } from './acme-script.js';
import { shimEnvironment, writeShim } from './acme-shim.js';
import { covers } from '../haproxy/certificates/certificate-facts.js';
import { checkCloudflare } from './cloudflare-check.js';
import { type CertificateBundle, parseBundle } from '../haproxy/certificates/pem.js';
import { type GroupResult, runGroup } from './process-group.js';

/** acme.sh: done; nothing to do because the certificate is not due. */
const DONE = 0;
const NOT_DUE = 2;

export interface IssueRequest {
  domain: string;
  wildcard: boolean;
  /** Ask the CA even if acme.sh has a certificate that is good for long. */
  force: boolean;
}

export interface Work {
  signal: AbortSignal;
  progress: (message: string) => void;
}

/** Gets certificates from a CA with acme.sh: one run at a time, each with an end, and nothing half-done after it. */
@Injectable()
export class AcmeService {
  readonly #logger = new Logger('acme.sh');
  readonly #queue = pLimit(1);
  readonly #home: AcmeHome;
  readonly #secrets: readonly string[];

  constructor(private readonly settings: Settings) {
    const { acme } = settings;
    this.#home = new AcmeHome(acme.home, acme.keyLength.startsWith('ec-'));
    const values = acme.hookVariables.map((name) => acme.environment[name] ?? '');
    this.#secrets = [...values, acme.eab?.hmacKey ?? '']
      .filter((value) => value.length >= 4)
      .toSorted((a, b) => b.length - a.length);
  }

  /**
   * A new certificate of the domain, handed to `deploy`. If that throws, or anything before it, acme.sh's folder is
   * as it was.
   *
   * @throws AppError acme_failed or acme_timeout; what `deploy` throws
   */
  issue<T>(request: IssueRequest, work: Work, deploy: (bundle: CertificateBundle) => Promise<T>): Promise<T> {
    return this.#queue(async () => {
      const script = await findAcmeScript(this.settings.acme);
      if (work.signal.aborted) throw cancelled();
      await this.#prepare(request.domain);
      try {
        const bundle = await this.#get(script, request, work);
        const result = await deploy(bundle);
        await this.#home.forgetBackup(request.domain);
        return result;
      } catch (error) {
        await this.#home.putBack(request.domain);
        throw error;
      }
    });
  }

  /** acme.sh forgets the domain; a certificate is not revoked. It may be busy with another one meanwhile. */
  async forget(domain: string): Promise<void> {
    await this.#home.forget(domain);
  }

  /** At the start, when no acme.sh of this suite runs yet. */
  async recover(): Promise<void> {
    await this.#home.recover();
  }

  async #prepare(domain: string): Promise<void> {
    try {
      await this.#home.prepare();
      await this.#home.endOrphan();
      await writeShim(this.#home.shim);
      await this.#home.backUp(domain);
    } catch (error) {
      throw storageError(error);
    }
  }

  async #get(script: string, request: IssueRequest, work: Work): Promise<CertificateBundle> {
    const { domain, wildcard } = request;
    const names = wildcard ? [domain, `*.${domain}`] : [domain];
    const started = performance.now();
    if (this.settings.acme.dns === 'dns_cf') {
      work.progress('asking Cloudflare for the zone');
      await checkCloudflare(this.settings.acme, domain, this.#environment(), work.signal);
    }
    await this.#register(script, domain, work, started);
    work.progress(`asking ${this.settings.acme.server} for a certificate for ${names.join(' and ')}`);
    let { exitCode } = await this.#run(
      script,
      this.#issueArguments(names, request.force),
      domain,
      work,
      started,
    );
    let bundle = await this.#read(names);
    if (exitCode === NOT_DUE && !bundle) {
      // acme.sh goes by its notes; what it keeps may be another thing after a run that was killed.
      ({ exitCode } = await this.#run(script, this.#issueArguments(names, true), domain, work, started));
      bundle = await this.#read(names);
    }
    if (!bundle)
      throw new AppError(
        'acme_failed',
        `acme.sh left no usable certificate for ${domain} in ${this.#home.path}.`,
      );
    return bundle;
  }

  /** What acme.sh has for these names, if it is whole and good for longer than it takes until a renewal. */
  async #read(names: readonly string[]): Promise<CertificateBundle | undefined> {
    const text = await this.#home.read(names[0] ?? '');
    if (text === undefined) return undefined;
    try {
      const bundle = parseBundle(text);
      return covers(bundle.leaf, names) && Date.parse(bundle.leaf.validTo) > Date.now() ? bundle : undefined;
    } catch {
      return undefined;
    }
  }

  /** Binds acme.sh's account to the CA's own one, once for each server and key id. */
  async #register(script: string, domain: string, work: Work, started: number): Promise<void> {
    const { eab, server, email } = this.settings.acme;
    if (!eab || (await this.#home.isRegistered(server, eab.kid))) return;
    work.progress(`registering at ${server} with the external account ${eab.kid}`);
    const args = ['--register-account', ...this.#common(), ...(email === undefined ? [] : ['-m', email])];
    await this.#run(script, args, domain, work, started);
    await this.#home.registered(server, eab.kid).catch((error: unknown) => {
      throw storageError(error);
    });
  }

  #issueArguments(names: readonly string[], force: boolean): string[] {
    const { dns, dnsSleep, keyLength, email } = this.settings.acme;
    return [
      '--issue',
      ...this.#common(),
      '--dns',
      dns,
      '--keylength',
      keyLength,
      ...(dnsSleep === undefined ? [] : ['--dnssleep', String(dnsSleep)]),
      ...(email === undefined ? [] : ['--accountemail', email]),
      ...names.flatMap((name) => ['-d', name]),
      ...(force ? ['--force'] : []),
    ];
  }

  #common(): string[] {
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

  /** @throws AppError unless acme.sh says done or not due. ACME_TIMEOUT is for all runs of one request together. */
  async #run(
    script: string,
    args: string[],
    domain: string,
    work: Work,
    started: number,
  ): Promise<GroupResult> {
    const { timeoutSeconds, server } = this.settings.acme;
    let noted: Promise<void> | undefined;
    const result = await runGroup(script, args, {
      env: this.#environment(),
      cwd: this.#home.path,
      signal: work.signal,
      timeoutMs: Math.max(1, timeoutSeconds * 1000 - (performance.now() - started)),
      onStart: (pid) => {
        noted = this.#home.isRunningAs(pid).catch(() => undefined);
      },
      onLine: (line) => this.#tell(line, work),
    }).catch((error: unknown) => {
      throw new AppError('acme_failed', `${script} cannot be started: ${messageOf(error)}`);
    });
    await noted;
    await this.#home.notRunning();
    if (result.ended === 'timeout') throw timedOut(domain, timeoutSeconds);
    if (result.ended === 'cancelled') throw cancelled();
    if (result.exitCode !== DONE && result.exitCode !== NOT_DUE)
      throw explainFailure({ domain, server, output: this.#redact(result.output) });
    return result;
  }

  #tell(line: string, { progress }: Work): void {
    const safe = this.#redact(line);
    this.#logger.debug(safe);
    // `[Mon Nov 23 14:00:00 UTC 2026] Verifying: example.com`; what has no date is the certificate itself.
    const words = /^\[[^\]]{10,40}\] ?(?<words>.{1,200})/.exec(safe)?.groups?.['words'];
    if (words !== undefined) progress(words);
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

function cancelled(): AppError {
  return new AppError(
    'acme_failed',
    'The request was cancelled, acme.sh was ended, and nothing was changed.',
  );
}
