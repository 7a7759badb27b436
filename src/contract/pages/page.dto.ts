import { IntField, StringField } from '../fields/fields.js';

/** Which page of a list to return. */
export class PageQueryDto {
  @IntField({ description: 'Most items in one answer.', min: 1, max: 1000, example: 20 })
  limit: number = 100;

  @StringField({
    description: 'next_cursor of the previous answer.',
    maxLength: 512,
    openApiOnlyLimits: true,
    optional: true,
  })
  cursor?: string;
}

/** The fields of every list, in addition to its items. */
export class PageDto {
  @StringField({ description: 'The cursor of the next page; null on the last page.', nullable: true })
  next_cursor: string | null;

  @IntField({ description: 'Number of items on all pages together.', min: 0, example: 1 })
  total: number;
}
