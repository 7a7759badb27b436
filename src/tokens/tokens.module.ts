import { Module } from '@nestjs/common';
import { AccessModule } from '../access/access.module.js';
import { TokensController } from './tokens.controller.js';
import { TokensService } from './tokens.service.js';

@Module({ imports: [AccessModule], controllers: [TokensController], providers: [TokensService] })
export class TokensModule {}
