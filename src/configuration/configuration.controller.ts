import { Body, Controller, Post } from '@nestjs/common';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { Serves } from '../contract/rest-operation.js';
import { CheckResultDto, ReloadResultDto } from './configuration.dto.js';
import { ReloadService } from './reload.service.js';

@Controller('api/v1/configuration')
export class ConfigurationController {
  constructor(private readonly configuration: ReloadService) {}

  @Post('check')
  @Serves(ReloadService, 'check')
  check(): Promise<CheckResultDto> {
    return this.configuration.check();
  }

  @Post('reload')
  @Serves(ReloadService, 'reload')
  reload(@Body() body: DryRunDto): Promise<ReloadResultDto> {
    return this.configuration.reload(body);
  }
}
