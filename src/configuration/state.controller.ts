import { Controller, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Serves } from '../common/rest-operation.js';
import { RestoredStateDto, SavedStateDto } from './state.dto.js';
import { StateService } from './state.service.js';

@ApiTags('configuration')
@Controller('api/v1/state')
export class StateController {
  constructor(private readonly state: StateService) {}

  @Post('save')
  @Serves(StateService, 'save')
  save(): Promise<SavedStateDto> {
    return this.state.save();
  }

  @Post('restore')
  @Serves(StateService, 'restore')
  restore(): Promise<RestoredStateDto> {
    return this.state.restore();
  }
}
