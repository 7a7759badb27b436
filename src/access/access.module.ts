import { Module } from '@nestjs/common';
import { AccessGuard } from './access-guard.service.js';
import { NamedTokens } from './named-tokens.js';
import { OpenCalls } from './open-calls.js';
import { TokenStore } from './token-store.js';

@Module({
  providers: [TokenStore, NamedTokens, OpenCalls, AccessGuard],
  exports: [TokenStore, NamedTokens, OpenCalls, AccessGuard],
})
export class AccessModule {}
