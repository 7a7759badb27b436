import { Body, Controller, Delete, Get, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { joined, Serves } from '../contract/rest-operation.js';
import { AcceptedDto, WaitQueryDto } from '../jobs/jobs.dto.js';
import { answerJob, ServesJob } from '../jobs/rest-job.js';
import {
  CertificateDto,
  CertificateListDto,
  CertificateRefDto,
  DeletedCertificateDto,
  IssueCertificateDto,
  IssuedCertificateDto,
  ListCertificatesDto,
  LoadBodyDto,
  LoadedCertificateDto,
  RenewAllDto,
  RenewBodyDto,
} from './certificates.dto.js';
import { CertificatesService } from './certificates.service.js';

@Controller('api/v1/certificates')
export class CertificatesController {
  constructor(private readonly certificates: CertificatesService) {}

  @Get()
  @Serves(CertificatesService, 'list')
  list(@Query() query: ListCertificatesDto): Promise<CertificateListDto> {
    return this.certificates.list(query);
  }

  @Post()
  @ServesJob(CertificatesService, 'issue')
  async issue(
    @Body() body: IssueCertificateDto,
    @Query() { wait }: WaitQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<IssuedCertificateDto | AcceptedDto> {
    if (body.dry_run) return this.certificates.issue(body);
    return answerJob(await this.certificates.startIssue(body), wait, reply);
  }

  @Post('renew')
  @ServesJob(CertificatesService, 'renewAll')
  async renewAll(
    @Body() body: DryRunDto,
    @Query() { wait }: WaitQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RenewAllDto | AcceptedDto> {
    if (body.dry_run) return this.certificates.renewAll(body);
    return answerJob(await this.certificates.startRenewAll(), wait, reply);
  }

  @Get(':domain')
  @Serves(CertificatesService, 'info')
  info(@Param() path: CertificateRefDto): Promise<CertificateDto> {
    return this.certificates.info(path);
  }

  @Post(':domain/renew')
  @ServesJob(CertificatesService, 'renew')
  async renew(
    @Param() { domain }: CertificateRefDto,
    @Body() body: RenewBodyDto,
    @Query() { wait }: WaitQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<IssuedCertificateDto | AcceptedDto> {
    const input = { ...body, domain };
    if (input.dry_run) return this.certificates.renew(input);
    return answerJob(await this.certificates.startRenew(input), wait, reply);
  }

  @Post(':domain/load')
  @Serves(CertificatesService, 'load')
  load(@Param() { domain }: CertificateRefDto, @Body() body: LoadBodyDto): Promise<LoadedCertificateDto> {
    return this.certificates.load({ ...body, domain });
  }

  @Delete(':domain')
  @Serves(CertificatesService, 'delete')
  delete(@Param() path: CertificateRefDto, @Query() query: DryRunDto): Promise<DeletedCertificateDto> {
    return this.certificates.delete(joined(path, query));
  }
}
