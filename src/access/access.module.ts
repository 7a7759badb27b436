import { Module } from '@nestjs/common';
import { AccessGuard } from './access-guard.service.js';
import { TokenStore } from './token-store.js';

@Module({ providers: [TokenStore, AccessGuard], exports: [TokenStore, AccessGuard] })
export class AccessModule {}
