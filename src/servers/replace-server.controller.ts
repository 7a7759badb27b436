import { Body, Controller, Post, Query, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { AcceptedDto, WaitQueryDto } from '../jobs/jobs.dto.js';
import { answerJob, ServesJob } from '../jobs/rest-job.js';
import { ReplaceResultDto, ReplaceServerDto } from './replace-server.dto.js';
import { ReplaceServerService } from './replace-server.service.js';

@ApiTags('servers')
@Controller('api/v1/servers')
export class ReplaceServerController {
  constructor(private readonly replacing: ReplaceServerService) {}

  @Post('replace')
  @ServesJob(ReplaceServerService, 'replace')
  async replace(
    @Body() body: ReplaceServerDto,
    @Query() { wait }: WaitQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ReplaceResultDto | AcceptedDto> {
    if (body.dry_run) return this.replacing.replace(body);
    await this.replacing.check(body);
    return answerJob(this.replacing.start(body), wait, reply);
  }
}
