import { MAX_PORT, MAX_SLOT, MAX_WEIGHT } from '../../model/server.js';
import { IntField } from './fields.js';

export function HttpPortField(options: { optional?: boolean } = {}): PropertyDecorator {
  return IntField({ ...options, description: 'Port of the server.', min: 1, max: MAX_PORT, example: 8080 });
}

export function WeightField(): PropertyDecorator {
  const description = 'Share of the requests, relative to the other servers of the pool; 0 gets no new ones.';
  return IntField({ description, min: 0, max: MAX_WEIGHT, example: 10 });
}

/** `min` 0 where 0 has a meaning of its own, which the description gives. */
export function SlotField(options: {
  description: string;
  min: 0 | 1;
  optional?: boolean;
}): PropertyDecorator {
  return IntField({ ...options, max: MAX_SLOT, example: 1 });
}
