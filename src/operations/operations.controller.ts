import { Controller, Get, Param } from '@nestjs/common';
import { Serves } from '../common/rest-operation.js';
import { OperationDto, OperationRefDto } from './operations.dto.js';
import { OperationsService } from './operations.service.js';

@Controller('api/v1/operations')
export class OperationsController {
  constructor(private readonly operations: OperationsService) {}

  @Get(':id')
  @Serves(OperationsService, 'get')
  get(@Param() path: OperationRefDto): Promise<OperationDto> {
    return this.operations.get(path);
  }
}
