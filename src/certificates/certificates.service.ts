import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { Operation } from '../contract/operation.js';
import { McpResource } from '../contract/resource.js';
import { PageQueryDto } from '../contract/pages/page.dto.js';
import { paginate } from '../contract/pages/page.js';
import { CertificatePlans } from './certificate-plans.service.js';
import { CertificateViews } from './certificate-views.service.js';
import { type CertificateFile, CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import {
  CertificateDto,
  CertificateListDto,
  CertificateRefDto,
  DeleteCertificateDto,
  DeletedCertificateDto,
  IssueCertificateDto,
  IssuedCertificateDto,
  LoadCertificateDto,
  LoadedCertificateDto,
  RenewAllDto,
  RenewCertificateDto,
} from './certificates.dto.js';
import { DeployService, isServed } from './deploy.service.js';
import { CertificateJobs } from './certificate-jobs.service.js';
import { StoredCertificates } from './stored-certificates.service.js';

/** The certificates HAProxy serves: what there is, and how to get, renew, replace and delete one. */
@Injectable()
export class CertificatesService {
  readonly #logger = new Logger('Certificates');

  constructor(
    private readonly views: CertificateViews,
    private readonly folder: CertificateFolder,
    private readonly deploy: DeployService,
    private readonly longWork: CertificateJobs,
    private readonly stored: StoredCertificates,
    private readonly plans: CertificatePlans,
  ) {}

  @Operation({
    name: 'haproxy_list_certs',
    title: 'List certificates',
    description:
      'Lists all certificates that HAProxy serves or could serve, sorted by domain: names, issuer, expiry, whether ' +
      'HAProxy has loaded that very one, and whether the suite renews it. haproxy_cert_info shows one.',
    output: CertificateListDto,
    readOnly: true,
    idempotent: true,
  })
  @McpResource({
    uri: 'haproxy://certificates',
    name: 'certificates',
    title: 'Certificates',
    description:
      'The first 100 certificates by domain, as haproxy_list_certs shows them: names, issuer, expiry, whether HAProxy ' +
      'has loaded each, and whether it is renewed.',
    mimeType: 'application/json',
    changesWith: ['certificates'],
  })
  async list(input: PageQueryDto): Promise<CertificateListDto> {
    return paginate(await this.views.all(), ({ domain, path }) => `${domain} ${path}`, input);
  }

  @Operation({
    name: 'haproxy_cert_info',
    title: 'Look at a certificate',
    description:
      'Shows the certificate of a domain from the X.509 itself: names, issuer, serial, validity, days left, key type, ' +
      'whether HAProxy serves it, where the file lies, and why its last renewal failed if it did. Look here after issuing, ' +
      'renewing or loading one; haproxy_list_certs shows all.',
    output: CertificateDto,
    readOnly: true,
    idempotent: true,
    errors: ['certificate_not_found'],
  })
  info(input: CertificateRefDto): Promise<CertificateDto> {
    return this.views.one(input.domain);
  }

  @Operation({
    name: 'haproxy_issue_cert',
    title: 'Issue a certificate',
    description:
      'Gets a certificate for a domain from the CA (ACME, proven over DNS), has HAProxy serve it at once and keeps it ' +
      'renewed. With wildcard it covers *.domain as well. Takes seconds to minutes and reports progress. One that the ' +
      'suite has already and that is good is returned as it is; haproxy_renew_cert with force replaces it. One that you ' +
      'have already is loaded with haproxy_load_cert instead.',
    output: IssuedCertificateDto,
    idempotent: true,
    openWorld: true,
    runsAsJob: true,
    errors: ['acme_failed', 'acme_timeout', 'payload_too_large'],
  })
  issue(input: IssueCertificateDto): Promise<IssuedCertificateDto> {
    return input.dry_run ? this.plans.issue(input) : this.longWork.issue(input).wait();
  }

  @Operation({
    name: 'haproxy_renew_cert',
    title: 'Renew a certificate',
    description:
      'Renews a certificate that the suite issued, if it has less than ACME_RENEW_DAYS left; with force in any case. ' +
      'The old one is served until the new one is there, and stays if that fails. Not needed day to day: due ' +
      'certificates are renewed by themselves.',
    output: IssuedCertificateDto,
    openWorld: true,
    runsAsJob: true,
    errors: ['certificate_not_found', 'acme_failed', 'acme_timeout', 'payload_too_large'],
  })
  renew(input: RenewCertificateDto): Promise<IssuedCertificateDto> {
    return input.dry_run ? this.plans.renew(input) : this.longWork.renew(input).wait();
  }

  @Operation({
    name: 'haproxy_renew_all_certs',
    title: 'Renew all due certificates',
    description:
      'Renews every certificate of the suite that is due, one after another, and tells what came of each. One that ' +
      'fails does not stop the others and goes on being served. This happens daily by itself: call it only after what kept ' +
      'renewals from working is mended.',
    output: RenewAllDto,
    idempotent: true,
    openWorld: true,
    runsAsJob: true,
  })
  renewAll({ dry_run }: DryRunDto): Promise<RenewAllDto> {
    return dry_run ? this.plans.renewAll() : this.longWork.renewAll().wait();
  }

  @Operation({
    name: 'haproxy_delete_cert',
    title: 'Delete a certificate',
    description:
      'HAProxy stops serving a certificate, its file is deleted and it is renewed no more. It is not revoked. Clients ' +
      'of the domain then get no TLS connection unless another certificate covers it. To replace one, use ' +
      'haproxy_renew_cert or haproxy_load_cert: neither leaves a gap.',
    output: DeletedCertificateDto,
    destructive: true,
    errors: ['certificate_not_found'],
  })
  delete(input: DeleteCertificateDto): Promise<DeletedCertificateDto> {
    return input.dry_run ? this.plans.delete(input.domain) : this.stored.delete(input.domain);
  }

  @Operation({
    name: 'haproxy_load_cert',
    title: 'Load a certificate',
    description:
      'Has HAProxy serve a certificate that you have: the PEM text given (certificate, chain and unencrypted key), or, ' +
      'without one, the file in the certificate folder. A certificate loaded from a text is not renewed by the suite, ' +
      'also if it takes the place of one that was. haproxy_cert_info then shows whether it is served.',
    output: LoadedCertificateDto,
    destructive: true,
    idempotent: true,
    errors: ['certificate_not_found', 'payload_too_large'],
  })
  load(input: LoadCertificateDto): Promise<LoadedCertificateDto> {
    return input.dry_run ? this.plans.load(input) : this.stored.load(input);
  }

  /**
   * Loads into HAProxy what lies in the folder and is not served as it lies there; tells how many. What cannot be
   * loaded is logged and left: it must not keep the rest from being served.
   *
   * @throws AppError haproxy_unavailable
   */
  async restore(): Promise<number> {
    const { files, broken } = await this.folder.list();
    for (const { path, reason } of broken)
      this.#logger.error(`${path} would keep HAProxy from starting: ${reason}. Mend or delete it.`);
    let restored = 0;
    for (const path of await this.#unservedOf(files)) {
      try {
        await this.deploy.load(path, false);
        restored += 1;
      } catch (error) {
        this.#logger.error(`${path} could not be loaded: ${messageOf(error)}`);
      }
    }
    if (restored > 0) this.#logger.log(`${restored} certificates loaded that HAProxy did not have`);
    return restored;
  }

  /** The files that `restore` would load. @throws AppError haproxy_unavailable */
  async unserved(): Promise<string[]> {
    return this.#unservedOf((await this.folder.list()).files);
  }

  async #unservedOf(files: readonly CertificateFile[]): Promise<string[]> {
    if (files.length === 0) return [];
    const loaded = await this.deploy.loaded();
    return files.filter(({ path, leaf }) => !isServed(loaded.get(path), leaf)).map(({ path }) => path);
  }
}
