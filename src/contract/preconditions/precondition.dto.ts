import type { Type } from '@nestjs/common';
import { IntersectionType } from '@nestjs/swagger';
import { StateChangeDto } from '../dry-run/dry-run.dto.js';
import { StringField } from '../fields/fields.js';
import { ARGUMENT_RULE, parseEntityTags, type Precondition } from './entity-tags.js';

const EXAMPLE = '0f3b5c7d9e1a2b4c6d8f0a1c';

/** The argument of each tool that changes one domain. Over REST it is the header `If-Match`. */
export class PreconditionDto {
  @StringField({
    description: 'Only for this etag.',
    canonical: (value) => (parseEntityTags(value, { unquoted: true }) ? value : undefined),
    rule: ARGUMENT_RULE,
    optional: true,
  })
  if_match?: string;
}

/** The ETag of a domain in an answer about it. */
export function EtagField(options: { description?: string; optional?: boolean } = {}): PropertyDecorator {
  return StringField({ description: 'The ETag of the domain.', example: EXAMPLE, ...options });
}

/** The fields that a change of one domain adds to the result of an operation. */
export class DomainChangeDto extends StateChangeDto {
  @EtagField({
    description:
      'The ETag of the domain after the change; in a dry run, the present one. Absent if there is no such domain.',
    optional: true,
  })
  etag?: string;
}

/** The DTO class of a tool: the arguments of `input`, and `if_match`. */
export function withPrecondition(input: Type): Type {
  const type = class extends IntersectionType(input, PreconditionDto) {};
  Object.defineProperty(type, 'name', { value: `${input.name}IfMatch` });
  return type;
}

/** The precondition in the arguments of a tool; undefined if they have none. */
export function preconditionIn({ if_match }: PreconditionDto): Precondition | undefined {
  const ifMatch = if_match === undefined ? undefined : parseEntityTags(if_match, { unquoted: true });
  return ifMatch && { ifMatch };
}
