import { Body, Controller, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Serves } from '../contract/rest-operation.js';
import { type HaproxyRecordsDto, ImportHaproxyDto } from './migration.dto.js';
import { MigrationService } from './migration.service.js';

@ApiTags('transfer')
@Controller('api/v1/import/haproxy')
export class MigrationController {
  constructor(private readonly migration: MigrationService) {}

  @Post()
  @Serves(MigrationService, 'convert')
  convert(@Body() body: ImportHaproxyDto): Promise<HaproxyRecordsDto> {
    return this.migration.convert(body);
  }
}
