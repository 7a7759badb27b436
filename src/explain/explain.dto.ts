import {
  ArrayField,
  BooleanField,
  EnumField,
  IntField,
  IpField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';
import { HostCertificateDto } from '../certificates/host-certificate.dto.js';
import { canonicalDomain } from '../model/names/domain-name.js';

const MAX_HOST = 300;
const MAX_PATH = 2_000;

/** The value of a Host header, as it stands; an internationalised name as A-labels, as clients send it. */
function hostHeader(value: string): string | undefined {
  if (!/^[ -~]*$/.test(value)) return canonicalDomain(value);
  return /^[^\s/?#@\\,]+$/.test(value) && value.length <= MAX_HOST ? value : undefined;
}

export class ExplainDto {
  @StringField({
    description: 'The host that a visitor uses, with or without a port.',
    example: 'example.com',
    canonical: hostHeader,
    rule: `a host such as example.com or example.com:8080 with at most ${MAX_HOST} characters, not a URL`,
  })
  host: string;

  @StringField({
    description: 'The path of the request.',
    example: '/',
    maxLength: MAX_PATH,
    pattern: /^\/[!-~]*$/,
    rule: `a path that begins with / and has at most ${MAX_PATH} printable ASCII characters`,
  })
  path: string = '/';

  @IpField({ description: 'The address of the visitor.', example: '192.0.2.7', optional: true })
  ip?: string;
}

const OUTCOMES = ['ok', 'problem', 'info'] as const;

export class ExplainStepDto {
  @StringField({ description: 'What HAProxy evaluates in this step.', example: 'domain' })
  rule: string;

  @EnumField(OUTCOMES, { description: 'problem: a reason why a visitor gets no page.', example: 'ok' })
  outcome: (typeof OUTCOMES)[number];

  @StringField({ description: 'What was found.', example: 'domains.map: shop.example.com → pool_5.' })
  detail: string;
}

export class ExplainedServerDto {
  @StringField({ description: 'Its name in HAProxy.', example: 'pool_5_1' })
  name: string;

  @StringField({ description: 'Its address.', example: '10.0.0.1:80' })
  address: string;

  @IntField({ description: 'Its share of the requests now; 0: none.', min: 0, example: 1 })
  weight: number;

  @StringField({ description: 'Its status in HAProxy.', example: 'UP' })
  status: string;

  @BooleanField({ description: 'Whether HAProxy sends requests to it.' })
  used: boolean;

  @StringField({ description: 'Result of its last health check; empty before the first.', example: '' })
  last_check: string;
}

export class ExplainAnswerDto {
  @IntField({ description: 'Status if HAProxy itself answers; absent if a server does.', optional: true })
  status?: number;

  @StringField({ description: 'What answers, or why nothing does.', example: 'A server of pool_5 answers.' })
  reason: string;
}

export class ExplainResultDto {
  @StringField({ description: 'The host as HAProxy reads it.', example: 'shop.example.com' })
  host: string;

  @StringField({ description: 'The domain that matches; absent if none.', optional: true })
  domain?: string;

  @StringField({ description: 'The pool (backend) that gets the request; absent if none.', optional: true })
  pool?: string;

  @ArrayField(ExplainedServerDto, { description: 'Its servers.' })
  servers: ExplainedServerDto[];

  @NestedField(HostCertificateDto, { description: 'The certificate for https.', optional: true })
  certificate?: HostCertificateDto;

  @StringField({
    description: 'Why the certificate, or whether visitors get it, is not known.',
    optional: true,
  })
  certificate_problem?: string;

  @NestedField(ExplainAnswerDto, { description: 'What the visitor gets.' })
  answer: ExplainAnswerDto;

  @ArrayField(ExplainStepDto, { description: 'Each step, in order.' })
  steps: ExplainStepDto[];
}
