import { EnumField, IntField, StringField } from './fields.js';
import { MAX_PORT, MAX_WEIGHT, SERVER_STATES, type ServerState } from '../../model/server.js';

/** What HAProxy reports of a server; `unknown` while it does not answer. */
export const SERVER_STATUSES = ['UP', 'DOWN', 'DRAIN', 'MAINT', 'no check', 'unknown'] as const;
export type ServerStatus = (typeof SERVER_STATUSES)[number];

/** A server of a pool: as it is saved, and what HAProxy says of it now. */
export class ServerDto {
  @IntField({ description: 'Its slot in the pool.', min: 1, example: 1 })
  slot: number;

  @StringField({ description: 'Its name in HAProxy.', example: 'pool_5_1' })
  name: string;

  @StringField({ description: 'IPv4 or IPv6 address, canonical.', example: '10.0.0.1' })
  ip: string;

  @IntField({ description: 'Port.', min: 1, max: MAX_PORT, example: 80 })
  http_port: number;

  @IntField({
    description: 'Share of the requests, relative to the others of the pool.',
    min: 0,
    max: MAX_WEIGHT,
    example: 1,
  })
  weight: number;

  @EnumField(SERVER_STATES, { description: 'The state that was asked for.', example: 'ready' })
  state: ServerState;

  @EnumField(SERVER_STATUSES, { description: 'What HAProxy reports.', example: 'UP' })
  status: ServerStatus;

  @IntField({ description: 'Connections it has now.', min: 0, example: 0 })
  connections: number;
}
