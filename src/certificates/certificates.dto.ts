import { IntersectionType, OmitType, PartialType, PickType } from '@nestjs/swagger';
import { canonicalDomain, isWildcard } from '../model/domain-name.js';
import { DryRunDto, PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import { ArrayField, BooleanField, DateTimeField, IntField, StringField } from '../contract/fields/fields.js';
import { PageDto } from '../contract/pages/page.dto.js';
import { MAX_PEM_BYTES } from '../haproxy/certificates/pem.js';

/** Its file is called after it, and a temporary one beside it has more in its name; file systems take 255. */
const NAME_CHARACTERS = 230;

/** A domain that a certificate goes by. A wildcard is asked for with `wildcard`, not as a name. */
export class CertificateRefDto {
  @StringField({
    description: 'The domain of the certificate; for a wildcard certificate the domain below *.',
    example: 'example.com',
    canonical: (value) => {
      const domain = canonicalDomain(value);
      return domain === undefined || isWildcard(domain) || domain.length > NAME_CHARACTERS
        ? undefined
        : domain;
    },
    rule: 'a domain such as example.com of at most 230 characters, not a wildcard (issue example.com with wildcard=true instead) and not a path',
  })
  domain: string;
}

export class DeleteCertificateDto extends IntersectionType(CertificateRefDto, DryRunDto) {}

export class IssueCertificateDto extends IntersectionType(CertificateRefDto, DryRunDto) {
  @BooleanField({ description: 'Cover *.domain as well, in the same certificate.' })
  wildcard: boolean = false;
}

export class RenewCertificateDto extends IntersectionType(CertificateRefDto, DryRunDto) {
  @BooleanField({ description: 'Renew it even if it is good for longer than ACME_RENEW_DAYS.' })
  force: boolean = false;
}

export class RenewBodyDto extends OmitType(RenewCertificateDto, ['domain']) {}

export class LoadCertificateDto extends IntersectionType(CertificateRefDto, DryRunDto) {
  @StringField({
    description:
      'Certificate, chain and private key (not encrypted) as one PEM text. Without it the file in the folder is loaded.',
    maxLength: MAX_PEM_BYTES,
    minLength: 1,
    format: 'password',
    secret: true,
    optional: true,
  })
  pem?: string;
}

export class LoadBodyDto extends OmitType(LoadCertificateDto, ['domain']) {}

export class CertificateDto {
  @StringField({ description: 'The domain it goes by.', example: 'example.com' })
  domain: string;

  @ArrayField('string', {
    description: 'All names it is for (subject alternative names).',
    example: ['example.com', '*.example.com'],
  })
  sans: string[];

  @StringField({ description: 'Who signed it.', example: 'CN=WE1, O=Google Trust Services, C=US' })
  issuer: string;

  @StringField({ description: 'Serial number, hexadecimal.', example: '500FA193252B568985DB877772538B65' })
  serial: string;

  @DateTimeField({ description: 'Valid from.', example: '2026-01-01T00:00:00.000Z' })
  not_before: string;

  @DateTimeField({ description: 'Valid until.', example: '2026-03-31T23:59:59.000Z' })
  not_after: string;

  @IntField({ description: 'Whole days until it expires; negative once it has.', example: 58 })
  days_left: number;

  @StringField({ description: 'Type and size of its key.', example: 'ECDSA P-256' })
  key_type: string;

  @BooleanField({ description: 'Whether HAProxy serves this very certificate now.' })
  loaded: boolean;

  @BooleanField({ description: 'Whether the suite issued it and renews it.' })
  auto_renew: boolean;

  @StringField({ description: 'Where the file lies.', example: '/opt/haproxy/certs/example.com.pem' })
  path: string;

  @StringField({
    description: 'Why the last renewal failed; absent after a success.',
    optional: true,
  })
  last_error?: string;
}

export class CertificateListDto extends PageDto {
  @ArrayField(CertificateDto, { description: 'The certificates of this page, sorted by domain.' })
  items: CertificateDto[];
}

/** What is known of a certificate before there is one. */
const KNOWN_BEFORE = ['domain', 'sans', 'loaded', 'auto_renew', 'path'] as const;

/** The rest is absent only in a dry run, where there is no certificate yet. */
export class IssuedCertificateDto extends IntersectionType(
  PickType(CertificateDto, KNOWN_BEFORE),
  PartialType(OmitType(CertificateDto, KNOWN_BEFORE)),
  PlannedDto,
) {
  @BooleanField({
    description:
      'Whether a new certificate came of it; false where the one there is still good, and in a dry run.',
  })
  renewed: boolean;
}

export class LoadedCertificateDto extends IntersectionType(CertificateDto, PlannedDto) {
  @ArrayField('string', { description: 'What is odd about it, such as that it has expired.' })
  warnings: string[];
}

export class DeletedCertificateDto extends PlannedDto {
  @StringField({ description: 'The domain whose certificate was deleted.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'The file that was deleted.', example: '/opt/haproxy/certs/example.com.pem' })
  path: string;
}

export class FailedRenewalDto {
  @StringField({ description: 'The domain.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'What went wrong, from the error catalogue.', example: 'acme_failed' })
  code: string;

  @StringField({ description: 'What went wrong, and what to do.' })
  detail: string;
}

export class RenewAllDto extends PlannedDto {
  @ArrayField('string', {
    description: 'Renewed now; none in a dry run, whose plan names them.',
    example: ['example.com'],
  })
  renewed: string[];

  @ArrayField('string', {
    description: 'Not due, or (when scheduled) put off after failures.',
    example: ['example.org'],
  })
  skipped: string[];

  @ArrayField(FailedRenewalDto, { description: 'Could not be renewed; what they have is still served.' })
  failed: FailedRenewalDto[];
}
