import { IntersectionType } from '@nestjs/swagger';
import { isTokenName, TOKEN_NAME, TOKEN_NAME_RULE } from '../access/tokens-file.js';
import { DryRunDto, PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import {
  ArrayField,
  BooleanField,
  DateTimeField,
  EnumField,
  IntField,
  StringField,
} from '../contract/fields/fields.js';
import { MAX_COUNT, MAX_SCOPE_ENTRIES } from '../model/scope/scope.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { type Role, ROLES } from '../contract/role.js';

export class TokenRefDto {
  @StringField({
    description: 'Name of the token. The audit log shows it as the actor.',
    example: 'ci',
    canonical: (value) => (isTokenName(value) ? value : undefined),
    form: { pattern: TOKEN_NAME, maxLength: 63 },
    rule: TOKEN_NAME_RULE,
  })
  name: string;
}

/**
 * What limits a token, beside its role. `findScopeProblem` checks the entries of the lists. The fields are exact, because a
 * limit that is null would otherwise count as not given, and the token would have no limit.
 */
class TokenLimitsDto {
  @ArrayField('string', {
    description:
      'The domains that the token may see and change: names, and *.example.com for every domain below example.com. If absent, all.',
    example: ['*.preview.example.com'],
    minItems: 1,
    maxItems: MAX_SCOPE_ENTRIES,
    optional: true,
    exact: true,
  })
  domains?: string[];

  @BooleanField({
    description: 'Whether wildcards that match only domains of domains belong to them.',
    example: false,
    optional: true,
    exact: true,
  })
  wildcards?: boolean;

  @ArrayField('string', {
    description: 'Backends of haproxy.cfg that domains may point at.',
    example: ['be_static'],
    minItems: 1,
    maxItems: MAX_SCOPE_ENTRIES,
    optional: true,
    exact: true,
  })
  backends?: string[];

  @ArrayField('string', {
    description:
      'Networks that servers may be in. If absent: any, but with domains no loopback, link-local or metadata address.',
    example: ['10.0.0.0/8'],
    minItems: 1,
    maxItems: MAX_SCOPE_ENTRIES,
    optional: true,
    exact: true,
  })
  servers?: string[];

  @IntField({
    description: 'How many of its domains may exist at the same time.',
    min: 0,
    max: MAX_COUNT,
    example: 50,
    optional: true,
    exact: true,
  })
  max_domains?: number;

  @IntField({
    description: 'How many certificates of its domains may exist at the same time.',
    min: 0,
    max: MAX_COUNT,
    example: 5,
    optional: true,
    exact: true,
  })
  max_certificates?: number;
}

class NewTokenDto extends IntersectionType(TokenRefDto, TokenLimitsDto) {
  @EnumField(ROLES, {
    name: 'Role',
    description:
      'read: only read, and dry runs. operate: also change domains, servers and certificates. admin: everything.',
    example: 'operate',
  })
  role: Role;

  @DateTimeField({
    description: 'When the token stops being valid. If absent, it stays valid until it is revoked.',
    example: '2027-01-31T12:00:00Z',
    optional: true,
  })
  expires_at?: string;
}

export class AddTokenDto extends IntersectionType(NewTokenDto, DryRunDto) {}

export class RevokeTokenDto extends IntersectionType(TokenRefDto, DryRunDto) {}

export class ListTokensDto extends PageQueryDto {}

export class AddedTokenDto extends IntersectionType(NewTokenDto, PlannedDto) {
  @StringField({
    description:
      'The token itself. Only this answer shows it, because the suite keeps only its SHA-256. Absent in a dry run.',
    example: 'hst_H0Fc1e3yqgq0l4rmuRjd8xYkq2M2cV9uQ7n5cKe9wXs',
    optional: true,
  })
  token?: string;
}

export class RevokedTokenDto extends PlannedDto {
  @StringField({ description: 'The name of the revoked token.', example: 'ci' })
  name: string;
}

const STATUSES = ['valid', 'expired', 'unusable'] as const;

class TokenDto extends TokenLimitsDto {
  @StringField({ description: 'Name of the token.', example: 'ci' })
  name: string;

  @EnumField(STATUSES, {
    name: 'TokenStatus',
    description: 'Whether the token gives access. An unusable one has an error in the file.',
    example: 'valid',
  })
  status: (typeof STATUSES)[number];

  @EnumField(ROLES, {
    name: 'Role',
    description: 'What the token may do. Absent if it is unusable.',
    example: 'operate',
    optional: true,
  })
  role?: Role;

  @DateTimeField({
    description: 'When the token stops being valid. Absent if it does not expire.',
    example: '2027-01-31T12:00:00.000Z',
    optional: true,
  })
  expires_at?: string;

  @StringField({ description: 'Why the token is unusable.', optional: true })
  problem?: string;
}

export class TokenListDto extends PageDto {
  @ArrayField(TokenDto, { description: 'The tokens of this page, sorted by name.' })
  items: TokenDto[];

  @StringField({
    description: 'Why the file of the tokens cannot be used, and what to do. Absent if it can.',
    optional: true,
  })
  problem?: string;
}
