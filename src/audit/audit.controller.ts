import { Controller, Get, Query } from '@nestjs/common';
import { PageQueryDto } from '../contract/pages/page.dto.js';
import { Serves } from '../contract/rest-operation.js';
import type { AuditListDto } from './audit.dto.js';
import { AuditService } from './audit.service.js';

@Controller('api/v1/audit')
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  @Get()
  @Serves(AuditService, 'list')
  list(@Query() query: PageQueryDto): Promise<AuditListDto> {
    return this.audit.list(query);
  }
}
