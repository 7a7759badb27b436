import { Body, Controller, Delete, Get, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { PageQueryDto } from '../common/page.dto.js';
import { Serves } from '../common/rest-operation.js';
import { answerLongWork, ServesLongWork } from './accepted.js';
import {
  CertificateDto,
  CertificateListDto,
  CertificateRefDto,
  DeletedCertificateDto,
  IssueCertificateDto,
  IssuedCertificateDto,
  LoadBodyDto,
  LoadedCertificateDto,
  RenewAllDto,
  RenewBodyDto,
} from './certificates.dto.js';
import { CertificatesService } from './certificates.service.js';
import { LongWorkService } from './long-work.service.js';
import { AcceptedDto, WaitQueryDto } from './operations.dto.js';

@Controller('api/v1/certificates')
export class CertificatesController {
  constructor(
    private readonly certificates: CertificatesService,
    private readonly longWork: LongWorkService,
  ) {}

  @Get()
  @Serves(CertificatesService, 'list')
  list(@Query() query: PageQueryDto): Promise<CertificateListDto> {
    return this.certificates.list(query);
  }

  @Post()
  @ServesLongWork(CertificatesService, 'issue')
  issue(
    @Body() body: IssueCertificateDto,
    @Query() { wait }: WaitQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<IssuedCertificateDto | AcceptedDto> {
    return answerLongWork(this.longWork.issue(body), wait, reply);
  }

  @Post('renew')
  @ServesLongWork(CertificatesService, 'renewAll')
  renewAll(
    @Query() { wait }: WaitQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RenewAllDto | AcceptedDto> {
    return answerLongWork(this.longWork.renewAll(), wait, reply);
  }

  @Get(':domain')
  @Serves(CertificatesService, 'info')
  info(@Param() path: CertificateRefDto): Promise<CertificateDto> {
    return this.certificates.info(path);
  }

  @Post(':domain/renew')
  @ServesLongWork(CertificatesService, 'renew')
  renew(
    @Param() { domain }: CertificateRefDto,
    @Body() body: RenewBodyDto,
    @Query() { wait }: WaitQueryDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<IssuedCertificateDto | AcceptedDto> {
    return answerLongWork(this.longWork.renew({ ...body, domain }), wait, reply);
  }

  @Post(':domain/load')
  @Serves(CertificatesService, 'load')
  load(@Param() { domain }: CertificateRefDto, @Body() body: LoadBodyDto): Promise<LoadedCertificateDto> {
    return this.certificates.load({ ...body, domain });
  }

  @Delete(':domain')
  @Serves(CertificatesService, 'delete')
  delete(@Param() path: CertificateRefDto): Promise<DeletedCertificateDto> {
    return this.certificates.delete(path);
  }
}
