import { Body, Controller, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { Serves } from '../contract/rest-operation.js';
import { RestoredStateDto, SavedStateDto } from './state.dto.js';
import { StateService } from './state.service.js';

@ApiTags('configuration')
@Controller('api/v1/state')
export class StateController {
  constructor(private readonly state: StateService) {}

  @Post('save')
  @Serves(StateService, 'save')
  save(@Body() body: DryRunDto): Promise<SavedStateDto> {
    return this.state.save(body);
  }

  @Post('restore')
  @Serves(StateService, 'restore')
  restore(@Body() body: DryRunDto): Promise<RestoredStateDto> {
    return this.state.restore(body);
  }
}
