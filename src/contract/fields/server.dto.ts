import { EnumField, IntField, StringField } from './fields.js';
import { MAX_PORT, MAX_SLOT, MAX_WEIGHT, SERVER_STATES, type ServerState } from '../../model/server.js';

export function HttpPortField(options: { optional?: boolean; example?: number } = {}): PropertyDecorator {
  return IntField({ example: 8080, ...options, description: 'Its port.', min: 1, max: MAX_PORT });
}

export function WeightField(options: { example?: number } = {}): PropertyDecorator {
  const description = 'Share of requests; 0: no new ones.';
  return IntField({ example: 10, ...options, description, min: 0, max: MAX_WEIGHT });
}

/** `min` is 0 if slot 0 has a special meaning, which the description must give. */
export function SlotField(options: {
  description: string;
  min: 0 | 1;
  optional?: boolean;
}): PropertyDecorator {
  return IntField({ ...options, max: MAX_SLOT, example: 1 });
}

/**
 * What HAProxy reports of a server. `checking`: HAProxy sends it requests, but its health check has not passed (yet, or
 * since its last failure). `unknown`: HAProxy does not answer.
 */
export const SERVER_STATUSES = ['UP', 'checking', 'DOWN', 'DRAIN', 'MAINT', 'no check', 'unknown'] as const;
export type ServerStatus = (typeof SERVER_STATUSES)[number];

/** A server of a pool: its saved values, and what HAProxy reports of it. */
export class ServerDto {
  @IntField({ description: 'Slot of the server in its pool.', min: 1, example: 1 })
  slot: number;

  @StringField({ description: 'Name of the server in HAProxy.', example: 'pool_5_1' })
  name: string;

  @StringField({ description: 'IPv4 or IPv6 address in canonical form.', example: '10.0.0.1' })
  ip: string;

  @HttpPortField({ example: 80 })
  http_port: number;

  @WeightField({ example: 1 })
  weight: number;

  @EnumField(SERVER_STATES, { description: 'The requested state.', example: 'ready' })
  state: ServerState;

  @EnumField(SERVER_STATUSES, {
    description: 'What HAProxy reports. checking: used, but its check has not passed.',
    example: 'UP',
  })
  status: ServerStatus;

  @IntField({ description: 'Number of current connections.', min: 0, example: 0 })
  connections: number;
}
