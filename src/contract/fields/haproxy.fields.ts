import { IntField } from './fields.js';

/** Slots that can be named at all; HAPROXY_MAX_SLOTS may allow fewer. */
const SLOT_CEILING = 1000;

export function HttpPortField(options: { optional?: boolean } = {}): PropertyDecorator {
  return IntField({ ...options, description: 'Port of the server.', min: 1, max: 65_535, example: 8080 });
}

export function WeightField(): PropertyDecorator {
  const description = 'Share of the requests, relative to the other servers of the pool; 0 gets no new ones.';
  return IntField({ description, min: 0, max: 256, example: 10 });
}

/** `min` 0 where 0 has a meaning of its own, which the description gives. */
export function SlotField(options: {
  description: string;
  min: 0 | 1;
  optional?: boolean;
}): PropertyDecorator {
  return IntField({ ...options, max: SLOT_CEILING, example: 1 });
}
