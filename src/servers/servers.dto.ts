import { IntersectionType, OmitType, PickType } from '@nestjs/swagger';
import { DryRunDto, PlannedDto } from '../contract/dry-run/dry-run.dto.js';
import {
  ArrayField,
  BooleanField,
  DomainField,
  EnumField,
  IntField,
  IpField,
  StringField,
} from '../contract/fields/fields.js';
import { HttpPortField, SlotField, WeightField } from '../contract/fields/server.dto.js';
import { PageDto, PageQueryDto } from '../contract/pages/page.dto.js';
import { DEFAULT_HTTP_PORT, DEFAULT_WEIGHT, SERVER_STATES, type ServerState } from '../model/server.js';
import { ServerDto } from '../contract/fields/server.dto.js';

/** Bytes of JSON that one bulk request may take. */
const BULK_BYTES = 10 * 1024;

export class ListServersDto extends PageQueryDto {
  @DomainField({ description: 'The domain whose servers to list.' })
  domain: string;
}

export class ServerRefDto {
  @DomainField({ description: 'The domain whose server it is.' })
  domain: string;

  @SlotField({ description: 'The slot of the server.', min: 1 })
  slot: number;
}

export class ServerInputDto {
  @SlotField({ description: 'The slot to use; 0 takes the lowest free one.', min: 0 })
  slot: number = 0;

  @IpField({ description: 'IPv4 or IPv6 address of the server. No host names.' })
  ip: string;

  @HttpPortField()
  http_port: number = DEFAULT_HTTP_PORT;

  @WeightField()
  weight: number = DEFAULT_WEIGHT;
}

export class AddServerDto extends IntersectionType(ServerInputDto, DryRunDto) {
  @DomainField({ description: 'The domain whose pool gets the server.' })
  domain: string;
}

export class AddServersDto extends DryRunDto {
  @DomainField({ description: 'The domain whose pool gets the servers.' })
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

/** A server and `dry_run`: all that removing one takes. */
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
  @DomainField({ description: 'The domain whose servers, all of them, to set.' })
  domain: string;
}

export class WaitDrainDto {
  @DomainField({ description: 'The domain whose servers to wait for.' })
  domain: string;

  @SlotField({ description: 'The slot to wait for; 0 waits for all servers of the domain.', min: 0 })
  slot: number = 0;

  @IntField({ description: 'Seconds to wait at most.', min: 1, max: 3600, example: 60 })
  timeout: number = 30;
}

/** Bodies of the REST routes, whose paths hold domain and slot. */
export class AddServerBodyDto extends OmitType(AddServerDto, ['domain']) {}
export class AddServersBodyDto extends OmitType(AddServersDto, ['domain']) {}
export class StateBodyDto extends PickType(SetServerStateDto, ['state', 'dry_run']) {}
export class WeightBodyDto extends PickType(SetServerWeightDto, ['weight', 'dry_run']) {}
export class WaitDrainBodyDto extends PickType(WaitDrainDto, ['timeout']) {}
export class WaitDrainPathDto extends PickType(WaitDrainDto, ['domain', 'slot']) {}

/** A server that was added or changed, or would be. */
export class ChangedServerDto extends IntersectionType(ServerDto, PlannedDto) {}

export class ServersDto extends PlannedDto {
  @ArrayField(ServerDto, { description: 'The servers, in the order they were given.' })
  servers: ServerDto[];
}

export class ServerListDto extends PageDto {
  @ArrayField(ServerDto, { description: 'The servers of this page, by slot.' })
  items: ServerDto[];
}

export class RemovedServerDto extends IntersectionType(
  PickType(ServerDto, ['slot', 'name', 'ip', 'http_port']),
  PlannedDto,
) {}

export class DomainStateDto extends ServersDto {
  @StringField({ description: 'The domain.', example: 'example.com' })
  domain: string;

  @StringField({ description: 'Its pool.', example: 'pool_5' })
  pool: string;

  @ArrayField('string', {
    description: 'Other domains of the pool, affected as well; the first 100.',
    example: [],
  })
  shared_with: string[];

  @EnumField(SERVER_STATES, { description: 'The state that all servers have now.', example: 'drain' })
  state: ServerState;
}

export class DrainingServerDto {
  @IntField({ description: 'Its slot.', min: 1, example: 1 })
  slot: number;

  @EnumField(SERVER_STATES, {
    description: 'Its state; ready servers keep getting new requests.',
    example: 'drain',
  })
  state: ServerState;

  @IntField({ description: 'Connections left.', min: 0, example: 0 })
  connections: number;
}

export class WaitDrainResultDto {
  @BooleanField({ description: 'Whether no connection was left; false when the time was over first.' })
  drained: boolean;

  @IntField({ description: 'Milliseconds waited.', min: 0, example: 1200 })
  waited_ms: number;

  @ArrayField(DrainingServerDto, { description: 'The servers and what they have left.' })
  servers: DrainingServerDto[];
}
