import { Module } from '@nestjs/common';
import { DoorService } from './door.service.js';
import { TokenStore } from './token-store.js';

@Module({ providers: [TokenStore, DoorService], exports: [TokenStore, DoorService] })
export class AccessModule {}
