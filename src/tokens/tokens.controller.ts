import { Body, Controller, Delete, Get, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DryRunDto } from '../contract/dry-run/dry-run.dto.js';
import { answerCreated, joined, Serves } from '../contract/rest-operation.js';
import {
  AddedTokenDto,
  AddTokenDto,
  ListTokensDto,
  RevokedTokenDto,
  TokenListDto,
  TokenRefDto,
} from './tokens.dto.js';
import { TokensService } from './tokens.service.js';

@Controller('api/v1/tokens')
export class TokensController {
  constructor(private readonly tokens: TokensService) {}

  @Get()
  @Serves(TokensService, 'list')
  list(@Query() query: ListTokensDto): Promise<TokenListDto> {
    return this.tokens.list(query);
  }

  @Post()
  @Serves(TokensService, 'add', { created: true, example: { name: 'deploy', role: 'operate' } })
  async add(
    @Body() body: AddTokenDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AddedTokenDto> {
    const added = await this.tokens.add(body);
    // A token has no URL of its own.
    return answerCreated(reply, added, () => '/api/v1/tokens', added.token !== undefined);
  }

  @Delete(':name')
  @Serves(TokensService, 'revoke')
  revoke(@Param() path: TokenRefDto, @Query() query: DryRunDto): Promise<RevokedTokenDto> {
    return this.tokens.revoke(joined(path, query));
  }
}
