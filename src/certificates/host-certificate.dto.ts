import {
  ArrayField,
  BooleanField,
  DateTimeField,
  EnumField,
  StringField,
} from '../contract/fields/fields.js';

/** The certificate that visitors of a host get, in short. */
export class HostCertificateDto {
  @StringField({ description: 'The domain of the certificate.', example: 'example.com' })
  domain: string;

  @ArrayField('string', { description: 'Its names.', example: ['example.com'] })
  sans: string[];

  @StringField({ description: 'Its serial number.', example: '500FA193252B568985DB877772538B65' })
  serial: string;

  @DateTimeField({ description: 'The end of its validity.', example: '2026-03-31T23:59:59.000Z' })
  not_after: string;

  @BooleanField({
    description: 'Whether visitors get it; null if no handshake can be tried.',
    nullable: true,
  })
  loaded: boolean | null;

  @EnumField(['files', 'handshake'], {
    description: 'How it was found: by TLS handshakes, or only in the files.',
    example: 'handshake',
  })
  found_by: 'files' | 'handshake';
}
