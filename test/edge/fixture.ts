import { hash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Body, Controller, Delete, Get, Injectable, Module, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { ApiTags, IntersectionType } from '@nestjs/swagger';
import { type AppOptions, startApp } from '../../src/app.js';
import { callContext } from '../../src/contract/call-context.js';
import { AppError } from '../../src/errors/app-error.js';
import {
  ArrayField,
  BooleanField,
  DomainField,
  EnumField,
  IntField,
  IpField,
  NestedField,
  StringField,
} from '../../src/contract/fields/fields.js';
import { Operation } from '../../src/contract/operation.js';
import { answerCreated, joined, Serves } from '../../src/contract/rest-operation.js';
import { loadSettings } from '../../src/settings/settings.js';
import { freePort } from '../kit/free-port.js';

class ThingPath {
  @DomainField({ description: 'Name of the thing.' })
  domain: string;
}

class PartDto {
  @IpField({ description: 'Address.' })
  ip: string;

  @IntField({ description: 'Port.', min: 1, max: 65_535, example: 80 })
  http_port = 80;
}

class ThingBody {
  @ArrayField(PartDto, { description: 'Parts.', optional: true, maxItems: 3, orJsonText: true })
  parts?: PartDto[];

  @NestedField(PartDto, { description: 'Spare.', optional: true, nullable: true })
  spare?: PartDto | null;

  @EnumField(['ready', 'drain'], { name: 'ThingState', description: 'State.' })
  state = 'ready';
}

class AddThing extends IntersectionType(ThingPath, ThingBody) {}

class ListThings {
  @IntField({ description: 'How many.', min: 1, max: 1000 })
  limit = 100;

  @BooleanField({ description: 'All of them.' })
  all = false;
}

class ThingDto extends AddThing {
  @StringField({ description: 'Who asked.' })
  actor: string;

  @StringField({ description: 'How.', nullable: true })
  via: string | null;
}

class ThingList {
  @ArrayField(ThingDto, { description: 'Things.' })
  items: ThingDto[];

  @IntField({ description: 'The limit that was used.' })
  limit: number;
}

@Injectable()
export class ThingsService {
  /** Resolves when the waiting tool is cancelled. */
  cancelled: Promise<void> = Promise.resolve();
  #things: ThingDto[] = [];

  @Operation({
    name: 'haproxy_list_things',
    scope: 'view',
    title: 'List things',
    description: 'Lists things.',
    output: ThingList,
    readOnly: true,
  })
  async list(input: ListThings): Promise<ThingList> {
    return { items: this.#things.slice(0, input.limit), limit: input.limit };
  }

  @Operation({
    name: 'haproxy_add_thing',
    scope: 'change',
    title: 'Add a thing',
    description: 'Adds a thing.',
    output: ThingDto,
    errors: ['domain_exists'],
  })
  async add(input: AddThing): Promise<ThingDto> {
    const { actor, via } = callContext();
    if (this.#things.some(({ domain }) => domain === input.domain))
      throw new AppError('domain_exists', `${input.domain} exists; remove it first.`, {
        existing: { domain: input.domain },
      });
    const thing = Object.assign(new ThingDto(), input, { actor, via });
    this.#things.push(thing);
    return thing;
  }

  @Operation({
    name: 'haproxy_clear_things',
    scope: 'all',
    title: 'Remove all things',
    description: 'Removes everything.',
    output: ThingList,
    destructive: true,
    idempotent: true,
  })
  async clear(): Promise<ThingList> {
    this.#things = [];
    return { items: [], limit: 0 };
  }

  @Operation({
    name: 'haproxy_wait_things',
    scope: 'view',
    title: 'Wait',
    description: 'Waits until it is cancelled, or for a number of steps.',
    output: ThingList,
    readOnly: true,
  })
  async wait(input: ListThings): Promise<ThingList> {
    const { signal, progress } = callContext();
    if (input.all) {
      progress(0, undefined, 'waiting');
      this.cancelled = new Promise((resolve) => {
        signal().addEventListener('abort', () => {
          resolve();
        });
      });
      await this.cancelled;
      throw new AppError('shutting_down', 'cancelled');
    }
    for (let step = 1; step <= input.limit; step += 1) progress(step, input.limit, `step ${step}`);
    return { items: [], limit: input.limit };
  }

  @Operation({
    name: 'haproxy_break',
    scope: 'view',
    title: 'Break',
    description: 'Throws.',
    output: ThingList,
    readOnly: true,
  })
  async break(): Promise<ThingList> {
    throw new Error('secret words in an unexpected error');
  }
}

@ApiTags('things')
@Controller('api/v1/things')
class ThingsController {
  constructor(private readonly things: ThingsService) {}

  @Get()
  @Serves(ThingsService, 'list')
  list(@Query() query: ListThings) {
    return this.things.list(query);
  }

  @Post(':domain')
  @Serves(ThingsService, 'add', { created: true })
  async add(
    @Param() path: ThingPath,
    @Body() body: ThingBody,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<object> {
    const thing: object = await this.things.add(joined(path, body));
    answerCreated(reply, { revision: 1 }, () => '/api/v1/things');
    return thing;
  }

  @Delete()
  @Serves(ThingsService, 'clear')
  clear() {
    return this.things.clear();
  }

  @Get('wait')
  @Serves(ThingsService, 'wait', { id: 'wait_things' })
  wait(@Query() query: ListThings) {
    return this.things.wait(query);
  }

  @Get('broken')
  @Serves(ThingsService, 'break', { id: 'break_things' })
  break() {
    return this.things.break();
  }

  @Post('unlinked')
  unlinked() {
    return {};
  }
}

@Module({ controllers: [ThingsController], providers: [ThingsService] })
export class ThingsModule {}

export const ADMIN = 'admin-token-0123456789';
export const READER = 'reader-token-0123456789';

export interface Running {
  app: NestFastifyApplication;
  home: string;
  port: number;
  url: string;
  stop: () => Promise<void>;
}

/** An entry of tokens.json, for a token that is its own name and some more characters. */
export const namedToken = (name: string, role: string, more: object = {}): object => ({
  name,
  sha256: hash('sha256', secretOf(name)),
  role,
  ...more,
});
export const secretOf = (name: string): string => `${name}-named-token-0123456789`;

/** Options with a token file, for tests that use known tokens. */
export const withTokens = { tokens: `MCP_TOKEN=${ADMIN}\nMCP_READONLY_TOKEN=${READER}\n` };

/** Starts the suite with the module above, or other modules, in a new folder and on a free port of 127.0.0.1. */
export async function startFixture(
  {
    tokens,
    named,
    modules = [ThingsModule],
    ...options
  }: AppOptions & { tokens?: string; named?: object[] } = {},
  env: Record<string, string> = {},
): Promise<Running> {
  const home = await mkdtemp(join(tmpdir(), 'suite-edge-'));
  const port = await freePort();
  if (tokens !== undefined) {
    await mkdir(join(home, 'conf'));
    await writeFile(join(home, 'conf/mcp-token.env'), tokens, { mode: 0o600 });
  }
  if (named)
    await writeFile(join(home, 'conf/tokens.json'), JSON.stringify({ tokens: named }), { mode: 0o600 });
  const settings = loadSettings({
    HAPROXY_HOME: home,
    MCP_HOST: '127.0.0.1',
    MCP_PORT: String(port),
    // No HAProxy listens on this socket. These tests do not need one.
    HAPROXY_CONTROL: 'systemd',
    HAPROXY_SOCKET: join(home, 'run/api.sock'),
    TRUSTED_NETWORKS: '',
    ...env,
  });
  const tidy = () => rm(home, { recursive: true, force: true });
  const app = await startApp(settings, { logger: false, ...options, modules }).catch(
    async (error: unknown) => {
      await tidy();
      throw error;
    },
  );
  const stop = async () => {
    await app.close();
    await tidy();
  };
  return { app, home, port, url: `http://127.0.0.1:${port}`, stop };
}
