import { DomainField } from './fields.js';

export class DomainRefDto {
  @DomainField({ description: 'The domain, or a wildcard such as *.example.com.' })
  domain: string;
}
