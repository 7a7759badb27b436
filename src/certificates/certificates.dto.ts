import { IntersectionType, OmitType, PartialType, PickType } from '@nestjs/swagger';
import { DryRunDto, PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import {
  ArrayField,
  BooleanField,
  DateTimeField,
  EnumField,
  IntField,
  StringField,
} from '../contract/fields/fields.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { MAX_PEM_BYTES } from '../haproxy/certificates/pem.js';
import { CHALLENGES, type WantedChallenge } from './acme/challenge.js';
import { canonicalDomain, DOMAIN_FORM, isWildcard, MAX_DOMAIN_INPUT } from '../model/names/domain-name.js';

/** The domain is part of file names, which are limited to 255 bytes: `.DOMAIN.pem.PID.SEQUENCE.tmp`. */
const MAX_DOMAIN_CHARACTERS = 230;

/**
 * Names a certificate by its domain, without `*.`, or by its file name, which has the form of a domain too
 * (`0001-old.pem`, `x.pem.rsa`).
 */
export class CertificateRefDto {
  @StringField({
    isDomain: true,
    description: 'Its domain, without *., or its file name (0001-old.pem).',
    example: 'example.com',
    canonical: (value) => {
      const domain = canonicalDomain(value);
      return domain === undefined || isWildcard(domain) || domain.length > MAX_DOMAIN_CHARACTERS
        ? undefined
        : domain;
    },
    form: { pattern: DOMAIN_FORM, maxLength: MAX_DOMAIN_INPUT },
    rule: 'a domain such as example.com with at most 230 characters, not a path, and not a wildcard (issue example.com with wildcard=true instead)',
  })
  domain: string;
}

export class ListCertificatesDto extends PageQueryDto {
  @IntField({
    description: 'Only certificates that expire within this many days, the first to expire first.',
    min: 0,
    max: 36_500,
    example: 30,
    optional: true,
  })
  expires_within?: number;
}

export class DeleteCertificateDto extends IntersectionType(CertificateRefDto, DryRunDto) {}

export class IssueCertificateDto extends IntersectionType(CertificateRefDto, DryRunDto) {
  @BooleanField({ description: 'Include *.domain in the same certificate.' })
  wildcard: boolean = false;

  @EnumField(CHALLENGES, {
    description: 'auto: DNS with a token, else HTTP.',
    example: 'auto',
  })
  challenge: WantedChallenge = 'auto';
}

export class RenewCertificateDto extends IntersectionType(CertificateRefDto, DryRunDto) {
  @BooleanField({ description: 'Renew the certificate even if it is not due.' })
  force: boolean = false;
}

export class RenewBodyDto extends OmitType(RenewCertificateDto, ['domain']) {}

export class LoadCertificateDto extends IntersectionType(CertificateRefDto, DryRunDto) {
  @StringField({
    description:
      'Certificate, chain and unencrypted private key as one PEM text. If absent, the file in the folder is loaded.',
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
  @StringField({
    description: 'The domain of the certificate; its file name if it has no name.',
    example: 'example.com',
  })
  domain: string;

  @ArrayField('string', {
    description: 'All names of the certificate (subject alternative names).',
    example: ['example.com', '*.example.com'],
  })
  sans: string[];

  @StringField({
    description: 'Issuer of the certificate.',
    example: 'CN=WE1, O=Google Trust Services, C=US',
  })
  issuer: string;

  @StringField({ description: 'Serial number, hexadecimal.', example: '500FA193252B568985DB877772538B65' })
  serial: string;

  @DateTimeField({ description: 'Start of the validity period.', example: '2026-01-01T00:00:00.000Z' })
  not_before: string;

  @DateTimeField({ description: 'End of the validity period.', example: '2026-03-31T23:59:59.000Z' })
  not_after: string;

  @IntField({ description: 'Whole days until the certificate expires; negative after that.', example: 58 })
  days_left: number;

  @StringField({ description: 'Type and size of the key.', example: 'ECDSA P-256' })
  key_type: string;

  @BooleanField({
    description:
      'Whether a TLS handshake for each of its names gets this certificate, on each bind that can be tried; null if none can.',
    nullable: true,
  })
  loaded: boolean | null;

  @ArrayField('string', {
    description: 'Binds that could not be tried, with the reason.',
    example: [],
  })
  not_tried: string[];

  @ArrayField('string', {
    description: 'Names and binds where visitors get another certificate or none.',
    example: [],
  })
  served_instead: string[];

  @BooleanField({ description: 'Whether the suite issued the certificate and renews it.' })
  auto_renew: boolean;

  @StringField({ description: 'Path of the file.', example: '/opt/haproxy/certs/example.com.pem' })
  path: string;

  @StringField({
    description: 'Why HAProxy does not start with the file; absent if it does.',
    optional: true,
  })
  problem?: string;

  @StringField({
    description: 'Why the last renewal failed; absent if it succeeded.',
    optional: true,
  })
  last_error?: string;
}

export class CertificateListDto extends PageDto {
  @ArrayField(CertificateDto, { description: 'The certificates of this page, sorted by domain.' })
  items: CertificateDto[];
}

/** The properties that are known before a certificate is issued. */
const KNOWN_IN_ADVANCE = ['domain', 'sans', 'loaded', 'auto_renew', 'path'] as const;

/** Other certificates for the same names, which visitors no longer get. */
class PrecedenceDto extends PlannedDto {
  @ArrayField('string', {
    description:
      'Other certificates for the same names. HAProxy loaded them again, so that visitors get this one.',
    example: [],
  })
  rivals: string[];
}

/** The other properties are absent only in a dry run for a domain without a certificate. */
export class IssuedCertificateDto extends IntersectionType(
  PickType(CertificateDto, KNOWN_IN_ADVANCE),
  PartialType(OmitType(CertificateDto, KNOWN_IN_ADVANCE)),
  PrecedenceDto,
) {
  @BooleanField({
    description:
      'Whether a new certificate was issued; false if the existing one is still valid, and in a dry run.',
  })
  renewed: boolean;
}

export class LoadedCertificateDto extends IntersectionType(CertificateDto, PrecedenceDto) {
  @ArrayField('string', {
    description: 'The files that were loaded: several if they belong together (x.pem.rsa, x.pem.ecdsa).',
    example: ['/opt/haproxy/certs/example.com.pem'],
  })
  files: string[];

  @ArrayField('string', { description: 'Problems of the certificate, for example that it has expired.' })
  warnings: string[];
}

export class DeletedCertificateDto extends PlannedDto {
  @StringField({ description: 'The domain whose certificate was deleted.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'The file that was deleted.', example: '/opt/haproxy/certs/example.com.pem' })
  path: string;
}

class FailedRenewalDto {
  @StringField({ description: 'The domain.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'Error code.', example: 'acme_failed' })
  code: string;

  @StringField({ description: 'What is wrong, and what to do next.' })
  detail: string;
}

export class RenewAllDto extends PlannedDto {
  @ArrayField('string', {
    description: 'Domains whose certificate was renewed; empty in a dry run, where plan has them.',
    example: ['example.com'],
  })
  renewed: string[];

  @ArrayField('string', {
    description: 'Domains that are not due or, in a scheduled renewal, are skipped after failures.',
    example: ['example.org'],
  })
  skipped: string[];

  @ArrayField(FailedRenewalDto, {
    description: 'Domains whose renewal failed; HAProxy still serves their old certificate.',
  })
  failed: FailedRenewalDto[];
}
