import { Logger, type LoggerService, type LogLevel, type ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { SwaggerModule } from '@nestjs/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { installCallContext } from './access/call-context.hook.js';
import { AccessGuard } from './access/access-guard.service.js';
import { installAccessGuard } from './access/access-guard.hook.js';
import { setSecurityHeaders } from './http/security-headers.js';
import { AppModule } from './app.module.js';
import { AuditedOperations } from './audit/audited-operations.js';
import { AuditRecorder } from './audit/audit-recorder.js';
import { givenTo, recordRefusal } from './audit/refusals.js';
import { answerMalformedHttp } from './http/malformed-http.js';
import { installDryRun } from './contract/dry-run/dry-run.hook.js';
import { readJsonBodies } from './http/json-body.js';
import { InputPipe } from './contract/input/input.pipe.js';
import { lingerAfterEarlyAnswers } from './http/half-close.js';
import { SuiteLogger } from './lib/logger.js';
import { Shutdown } from './signals/shutdown.js';
import { openApiDocument } from './contract/openapi.js';
import { VERSION } from './lib/version.js';
import { recordedArguments } from './contract/recorded-arguments.js';
import { waitForAll } from './lib/wait-for-all.js';
import { LifecycleService } from './lifecycle.service.js';
import { AllExceptionsFilter } from './mcp/all-exceptions.filter.js';
import { McpCatalogue } from './mcp/catalogue/mcp-catalogue.js';
import type { Settings } from './settings/settings.js';
import { readImportBodies } from './transfer/import-body.js';

/** The most bytes a request body may have, but for an import. The largest are certificates, of a few kilobytes. */
export const BODY_LIMIT = 1024 * 1024;
/** Headers and body have to arrive within this time, so that slow senders do not hold connections for ever. */
const REQUEST_TIMEOUT_MS = 60_000;

/** DTOs describe and check the routes. Fastify's own compilers for schemas would take a tenth of a start, for nothing. */
const noSchemas = (): never => {
  throw new Error('a route has a schema of Fastify; describe it with a DTO');
};
const NO_SCHEMAS = { buildValidator: noSchemas, buildSerializer: noSchemas };

export interface AppOptions {
  /** Modules that only a test loads. */
  modules?: NonNullable<ModuleMetadata['imports']>;
  logger?: LoggerService | false;
  /** How long a request may take to arrive; only a test cannot wait for the default. */
  requestTimeoutMs?: number;
}

/** Builds everything and touches nothing: no port, no file, no HAProxy. */
export async function createApp(
  settings: Settings,
  options: AppOptions = {},
): Promise<NestFastifyApplication> {
  const brokenRequests = new AllExceptionsFilter();
  const { requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  const adapter = new FastifyAdapter({
    bodyLimit: BODY_LIMIT,
    requestTimeout: requestTimeoutMs,
    // Node looks for those that are late only so often, and swaps the two times where headers have the longer one.
    http: { headersTimeout: requestTimeoutMs, connectionsCheckingInterval: requestTimeoutMs / 4 },
    // Addresses are taken from the socket: what a header says about them is the caller's word.
    trustProxy: false,
    schemaController: { compilersFactory: NO_SCHEMAS },
    // Longer than any name can be, so that a name that is too long is told what is wrong with it.
    routerOptions: { maxParamLength: 16_384 },
    clientErrorHandler: answerMalformedHttp,
    // A path that cannot be decoded is no route and reaches no hook, so there is no door to ask.
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
      setSecurityHeaders(reply.raw, '');
      brokenRequests.answer(error, request, reply);
    },
  });
  const app = await NestFactory.create<NestFastifyApplication>(
    AppModule.with(settings, options.modules),
    adapter,
    { bodyParser: false, abortOnError: false, logger: options.logger ?? loggerFor(settings) },
  );
  const fastify = adapter.getInstance();
  readJsonBodies(fastify);
  readImportBodies(fastify);
  const recorder = app.get(AuditRecorder);
  installAccessGuard(fastify, app.get(AccessGuard), ({ name, input }, request, { actor }, error) =>
    recorder.refused(name, recordedArguments(input, givenTo(request)), { actor, via: 'rest' }, error),
  );
  closeWhenStopping(fastify, app.get(Shutdown));
  lingerAfterEarlyAnswers(fastify, app.get(Shutdown));
  // Hooks and no interceptors: with any of those, Nest makes a dozen promises and Observables of each request.
  installCallContext(fastify);
  installDryRun(fastify);
  app.useGlobalFilters(new AllExceptionsFilter((error, request) => recordRefusal(recorder, error, request)));
  app.useGlobalPipes(new InputPipe());
  app.get(AuditedOperations).install();
  app.get(McpCatalogue).load(app);
  SwaggerModule.setup('docs', app, () => openApiDocument(app, VERSION), {
    jsonDocumentUrl: 'openapi.json',
    raw: ['json'],
    customSiteTitle: 'HAProxy Suite',
  });
  return app;
}

/** Builds, opens the port and starts. Whatever fails leaves nothing running. */
export async function startApp(
  settings: Settings,
  options: AppOptions = {},
): Promise<NestFastifyApplication> {
  const app = await createApp(settings, options);
  try {
    const lifecycle = app.get(LifecycleService);
    await lifecycle.open();
    await waitForAll(lifecycle.checkConfiguration(), app.listen(settings.api.port, settings.api.host));
    new Logger('api').log(`Listening on ${await app.getUrl()}: /api/v1, /mcp, /docs.`);
    await lifecycle.start();
    return app;
  } catch (error) {
    await app.close();
    throw error;
  }
}

const LEVELS = {
  DEBUG: ['fatal', 'error', 'warn', 'log', 'debug', 'verbose'],
  INFO: ['fatal', 'error', 'warn', 'log'],
  WARNING: ['fatal', 'error', 'warn'],
  ERROR: ['fatal', 'error'],
} as const satisfies Record<Settings['logLevel'], readonly LogLevel[]>;

/** Lines for people on a terminal, JSON for everything else. */
function loggerFor(settings: Settings): LoggerService {
  const forPeople = process.stdout.isTTY;
  return new SuiteLogger({
    json: !forPeople,
    colors: forPeople,
    logLevels: [...LEVELS[settings.logLevel]],
  });
}

/** A connection that is kept open after its last answer would hold up the stop until it times out. */
function closeWhenStopping(fastify: FastifyInstance, shutdown: Shutdown): void {
  fastify.addHook('onSend', (_request, reply, payload, done) => {
    if (shutdown.signal.aborted) void reply.header('connection', 'close');
    done(null, payload);
  });
}
