import { Controller, Get, Query } from '@nestjs/common';
import { Serves } from '../contract/rest-operation.js';
import { type AuditListDto, ListAuditDto } from './audit.dto.js';
import { AuditService } from './audit.service.js';

@Controller('api/v1/audit')
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  @Get()
  @Serves(AuditService, 'list')
  list(@Query() query: ListAuditDto): Promise<AuditListDto> {
    return this.audit.list(query);
  }
}
