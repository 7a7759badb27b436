import { IntersectionType, OmitType, PickType } from '@nestjs/swagger';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { DomainChangeDto, EtagField } from '../contract/preconditions/precondition.dto.js';
import {
  ArrayField,
  BooleanField,
  EnumField,
  ExistingDomainField,
  IntField,
  IpField,
  NestedField,
  StringField,
} from '../contract/fields/fields.js';
import { HttpPortField, SlotField, WeightField } from '../contract/fields/server.dto.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { DEFAULT_HTTP_PORT, DEFAULT_WEIGHT, SERVER_STATES, type ServerState } from '../model/server.js';
import { ServerDto } from '../contract/fields/server.dto.js';

/** The most bytes of JSON for the servers of one bulk request. */
const BULK_BYTES = 10 * 1024;

export class ListServersDto extends PageQueryDto {
  @ExistingDomainField({ description: 'The domain whose servers to list.' })
  domain: string;
}

export class ServerRefDto {
  @ExistingDomainField({ description: 'The domain of the server.' })
  domain: string;

  @SlotField({ description: 'The slot of the server.', min: 1 })
  slot: number;
}

export class ServerInputDto {
  @SlotField({ description: 'The slot to use; 0: the lowest free slot.', min: 0 })
  slot: number = 0;

  @IpField({ description: 'IPv4 or IPv6 address, no host name.' })
  ip: string;

  @HttpPortField()
  http_port: number = DEFAULT_HTTP_PORT;

  @WeightField()
  weight: number = DEFAULT_WEIGHT;
}

export class AddServerDto extends IntersectionType(ServerInputDto, DryRunDto) {
  @ExistingDomainField({ description: 'The domain to add the server to.' })
  domain: string;
}

export class AddServersDto extends DryRunDto {
  @ExistingDomainField({ description: 'The domain to add the servers to.' })
  domain: string;

  @ArrayField(ServerInputDto, {
    description: 'The servers to add, all or none.',
    example: [{ slot: 1, ip: '10.0.0.1', http_port: 80 }],
    minItems: 1,
    maxItems: 10,
    maxJsonBytes: BULK_BYTES,
    orJsonText: true,
  })
  servers: ServerInputDto[];
}

export class RemoveServerDto extends IntersectionType(ServerRefDto, DryRunDto) {}

export class SetServerStateDto extends RemoveServerDto {
  @EnumField(SERVER_STATES, { description: 'The state to set.', example: 'drain' })
  state: ServerState;
}

export class SetServerWeightDto extends RemoveServerDto {
  @WeightField()
  weight: number;
}

export class SetDomainStateDto extends PickType(SetServerStateDto, ['state', 'dry_run']) {
  @ExistingDomainField({ description: 'The domain whose servers to set.' })
  domain: string;
}

export class WaitDrainDto {
  @ExistingDomainField({ description: 'The domain whose servers to wait for.' })
  domain: string;

  @SlotField({ description: 'The slot to wait for; 0 waits for all servers of the domain.', min: 0 })
  slot: number = 0;

  @IntField({ description: 'Most seconds to wait.', min: 1, max: 3600, example: 60 })
  timeout: number = 30;
}

/** Bodies of the REST routes. Domain and slot are in the path. */
export class AddServerBodyDto extends OmitType(AddServerDto, ['domain']) {}
export class AddServersBodyDto extends OmitType(AddServersDto, ['domain']) {}
export class StateBodyDto extends PickType(SetServerStateDto, ['state', 'dry_run']) {}
export class WeightBodyDto extends PickType(SetServerWeightDto, ['weight', 'dry_run']) {}
export class WaitDrainBodyDto extends PickType(WaitDrainDto, ['timeout']) {}
export class WaitDrainPathDto extends PickType(WaitDrainDto, ['domain', 'slot']) {}

/** The server after the change; in a dry run, after the planned change. */
export class ChangedServerDto extends IntersectionType(ServerDto, DomainChangeDto) {}

export class ServersDto extends DomainChangeDto {
  @ArrayField(ServerDto, { description: 'The servers, in the given order.' })
  servers: ServerDto[];
}

export class ServerListDto extends PageDto {
  @ArrayField(ServerDto, { description: 'The servers of this page, by slot.' })
  items: ServerDto[];

  @EtagField()
  etag: string;
}

/** Connections to servers, by the worker of HAProxy that has them. */
export class OpenConnectionsDto {
  @IntField({ description: 'Connections of the current worker.', min: 0, example: 0 })
  current: number;

  @IntField({ description: 'Connections of old workers, from before a reload.', min: 0, example: 0 })
  old_workers: number;

  @IntField({
    description:
      'Other client connections of old workers that know the server; the next request can go to it.',
    min: 0,
    example: 0,
  })
  idle_clients: number;
}

/** What workers still have of a removed server. */
export class StillOpenDto extends OpenConnectionsDto {
  @StringField({ description: 'What to do, and why.', example: 'Keep the server running.' })
  detail: string;
}

export class RemovedServerDto extends IntersectionType(
  PickType(ServerDto, ['slot', 'name', 'ip', 'http_port']),
  DomainChangeDto,
) {
  @NestedField(StillOpenDto, {
    description: 'What workers still have open to it; absent if nothing.',
    optional: true,
  })
  still_open?: StillOpenDto;
}

export class DomainStateDto extends ServersDto {
  @StringField({ description: 'The domain.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'Its pool.', example: 'pool_5' })
  pool: string;

  @ArrayField('string', {
    description: 'Other domains of the pool, also affected; at most 100.',
    example: [],
  })
  shared_with: string[];

  @EnumField(SERVER_STATES, { description: 'The new state of all servers.', example: 'drain' })
  state: ServerState;
}

export class DrainingServerDto {
  @IntField({ description: 'Its slot.', min: 1, example: 1 })
  slot: number;

  @EnumField(SERVER_STATES, {
    description: 'Its state; a ready server gets new requests.',
    example: 'drain',
  })
  state: ServerState;

  @BooleanField({ description: 'true: removed, but a worker still has it.', optional: true })
  removed?: boolean;

  @IntField({ description: 'Open connections of all workers.', min: 0, example: 0 })
  connections: number;
}

export class WaitDrainResultDto extends OpenConnectionsDto {
  @BooleanField({
    description: 'Whether no worker has, or can open, a connection to it.',
  })
  drained: boolean;

  @StringField({ description: 'Why it is not drained; absent if it is.', optional: true })
  reason?: string;

  @IntField({ description: 'Waiting time, ms.', min: 0, example: 1200 })
  waited_ms: number;

  @ArrayField(DrainingServerDto, { description: 'The servers and their connections.' })
  servers: DrainingServerDto[];
}
