import { IntField, StringField } from '../fields/fields.js';

/** How much of a list to show, and from where. */
export class PageQueryDto {
  @IntField({ description: 'Items in one answer.', min: 1, max: 1000, example: 20 })
  limit: number = 100;

  @StringField({
    description: 'next_cursor of the answer before, to go on from there.',
    maxLength: 512,
    optional: true,
  })
  cursor?: string;
}

/** What every list answers beside its items. */
export class PageDto {
  @StringField({ description: 'Give it as cursor for the next page; null on the last.', nullable: true })
  next_cursor: string | null;

  @IntField({ description: 'Items on all pages together.', min: 0, example: 1 })
  total: number;
}
