import { Controller, Get, HttpStatus, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { StringField } from '../contract/fields/fields.js';
import { Readiness } from '../signals/readiness.js';

class ProbeDto {
  @StringField({ description: '`alive`, `ready` or `not_ready`.', example: 'ready' })
  status: string;

  @StringField({ description: 'Why.', optional: true })
  reason?: string;
}

/** Probes for process supervisors and load balancers. They need no token. */
@ApiTags('health')
@Controller()
export class ProbesController {
  constructor(private readonly readiness: Readiness) {}

  @Get('healthz')
  @ApiOperation({
    operationId: 'healthz',
    summary: 'Is the process alive?',
    description: 'For process supervisors. Needs no token.',
  })
  @ApiOkResponse({ type: ProbeDto })
  alive(): ProbeDto {
    return { status: 'alive' };
  }

  @Get('readyz')
  @ApiOperation({
    operationId: 'readyz',
    summary: 'Is the state restored?',
    description: 'For load balancers. Needs no token.',
  })
  @ApiOkResponse({ type: ProbeDto })
  @ApiServiceUnavailableResponse({
    type: ProbeDto,
    description: 'Not ready; reason says why.',
  })
  ready(@Res({ passthrough: true }) reply: FastifyReply): ProbeDto {
    const { ready, reason } = this.readiness.get();
    if (!ready) void reply.status(HttpStatus.SERVICE_UNAVAILABLE);
    return { status: ready ? 'ready' : 'not_ready', reason };
  }
}
