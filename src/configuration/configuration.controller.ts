import { Body, Controller, Post } from '@nestjs/common';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { Serves } from '../contract/rest-operation.js';
import { CheckResultDto, ReloadResultDto } from './configuration.dto.js';
import { ConfigurationService } from './configuration.service.js';

@Controller('api/v1/configuration')
export class ConfigurationController {
  constructor(private readonly configuration: ConfigurationService) {}

  @Post('check')
  @Serves(ConfigurationService, 'check')
  check(): Promise<CheckResultDto> {
    return this.configuration.check();
  }

  @Post('reload')
  @Serves(ConfigurationService, 'reload')
  reload(@Body() body: DryRunDto): Promise<ReloadResultDto> {
    return this.configuration.reload(body);
  }
}
