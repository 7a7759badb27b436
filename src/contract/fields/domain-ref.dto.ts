import { DomainField, ExistingDomainField } from './fields.js';

/** A domain that exists. */
export class DomainRefDto {
  @ExistingDomainField({ description: 'Domain, or wildcard (*.example.com).' })
  domain: string;
}

/** A domain that may not exist yet. */
export class NewDomainRefDto {
  @DomainField({ description: 'Domain, or wildcard (*.example.com).' })
  domain: string;
}
