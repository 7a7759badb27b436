import { DomainField } from './fields.js';

export class DomainRefDto {
  @DomainField({ description: 'Domain name, or a wildcard such as *.example.com.' })
  domain: string;
}
