import { setImmediate } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Operation } from '../contract/operation.js';
import { convertInTurns } from './convert.js';
import { HaproxyRecordsDto, ImportHaproxyDto } from './migration.dto.js';

/** Converts the configuration of another HAProxy. */
@Injectable()
export class MigrationService {
  @Operation({
    name: 'haproxy_import_haproxy',
    command: 'domains import-haproxy',
    scope: 'own',
    title: 'Convert an existing haproxy.cfg',
    description:
      'Reads haproxy.cfg with its maps and gives records for POST /api/v1/import. not_understood lists each line that the ' +
      'records do not carry, with the reason and what to do. A host whose requests could get another answer than before ' +
      'has no record; missing has these hosts. Changes nothing.',
    output: HaproxyRecordsDto,
    readOnly: true,
    idempotent: true,
    mcp: false,
    errors: ['payload_too_large'],
  })
  async convert(input: ImportHaproxyDto): Promise<HaproxyRecordsDto> {
    const turns = convertInTurns(input);
    for (;;) {
      const turn = turns.next();
      if (turn.done) return turn.value;
      await setImmediate();
    }
  }
}
