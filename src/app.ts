import { Logger, type LoggerService, type LogLevel, type ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { SwaggerModule } from '@nestjs/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { installAccessGuard } from './access/access-guard.hook.js';
import { AccessGuard } from './access/access-guard.service.js';
import { OpenCalls } from './access/open-calls.js';
import { installCallContext } from './access/call-context.hook.js';
import { AppModule } from './app.module.js';
import { AuditRecorder } from './audit/audit-recorder.js';
import { AuditedOperations } from './audit/audited-operations.js';
import { argumentsOf, recordRestRefusal } from './audit/rest-refusals.js';
import { installDryRun } from './contract/dry-run/dry-run.hook.js';
import { callContext } from './contract/call-context.js';
import { InputPipe } from './contract/input/input.pipe.js';
import { openApiDocument } from './contract/openapi.js';
import { installOperationRoutes } from './contract/operation-routes.hook.js';
import { installPreconditions } from './contract/preconditions/preconditions.hook.js';
import { recordedArguments } from './contract/recorded-arguments.js';
import { installJsonBodies } from './http/json-body.js';
import { installLingeringClose } from './http/lingering-close.js';
import { answerMalformedHttp, trackOpenRequests } from './http/malformed-http.js';
import { requestIdOf } from './http/request-id.js';
import { setSecurityHeaders } from './http/security-headers.js';
import { closeSilentConnections } from './http/silent-connections.js';
import { TailnetListeners } from './http/tailnet-listeners.js';
import { SuiteLogger } from './lib/logger.js';
import { VERSION } from './lib/version.js';
import { waitForAll } from './lib/wait-for-all.js';
import { LifecycleService } from './lifecycle.service.js';
import { AllExceptionsFilter } from './mcp/all-exceptions.filter.js';
import { McpCatalogue } from './mcp/catalogue/mcp-catalogue.js';
import type { Settings } from './settings/settings.js';
import { Shutdown } from './signals/shutdown.js';
import { readImportBodies } from './transfer/import-body.js';

/** Largest request body in bytes, except for an import. The largest real bodies are certificates of a few kilobytes. */
const BODY_LIMIT = 1024 * 1024;
/** Headers and body must arrive within this time, so that slow clients do not hold connections forever. */
const REQUEST_TIMEOUT_MS = 60_000;

/** DTOs describe and validate the routes. Loading Fastify's schema compilers would take a tenth of the start time. */
const refuseSchema = (): never => {
  throw new Error('A route has a Fastify schema. Describe the route with a DTO instead.');
};
const SCHEMA_COMPILERS = { buildValidator: refuseSchema, buildSerializer: refuseSchema };

export interface AppOptions {
  /** Additional modules, for tests. */
  modules?: NonNullable<ModuleMetadata['imports']>;
  logger?: LoggerService | false;
  /** How long a request may take to arrive, for tests that cannot wait for the default. */
  requestTimeoutMs?: number;
}

/** Builds the application. Opens no port, writes no file and does not talk to HAProxy. */
export async function createApp(
  settings: Settings,
  options: AppOptions = {},
): Promise<NestFastifyApplication> {
  const errorFilter = new AllExceptionsFilter();
  const { requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  const adapter = new FastifyAdapter({
    bodyLimit: BODY_LIMIT,
    requestTimeout: requestTimeoutMs,
    // Node checks for late requests at an interval. It swaps the two timeouts if headersTimeout is the longer one.
    http: { headersTimeout: requestTimeoutMs, connectionsCheckingInterval: requestTimeoutMs / 4 },
    // Client addresses come from the socket, because a caller can forge forwarding headers.
    trustProxy: false,
    genReqId: requestIdOf,
    schemaController: { compilersFactory: SCHEMA_COMPILERS },
    // Longer than any valid name, so that validation and not the router refuses a long name.
    routerOptions: { maxParamLength: 16_384 },
    clientErrorHandler: answerMalformedHttp,
    // A path that cannot be decoded reaches no route and no hook, so it does not pass the access guard.
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
      setSecurityHeaders(reply.raw, '');
      reply.raw.setHeader('x-request-id', request.id);
      errorFilter.answer(error, request, reply);
    },
  });
  const app = await NestFactory.create<NestFastifyApplication>(
    AppModule.with(settings, options.modules),
    adapter,
    { bodyParser: false, abortOnError: false, logger: options.logger ?? loggerFor(settings) },
  );
  const fastify = adapter.getInstance();
  trackOpenRequests(fastify);
  installJsonBodies(fastify);
  readImportBodies(fastify);
  const recorder = app.get(AuditRecorder);
  installAccessGuard(
    fastify,
    app.get(AccessGuard),
    app.get(OpenCalls),
    ({ name, input }, request, { actor, role }, error) =>
      recorder.recordRefusal(
        name,
        recordedArguments(input, argumentsOf(request)),
        { actor, role, via: 'rest', requestId: request.id },
        error,
      ),
  );
  installCloseOnShutdown(fastify, app.get(Shutdown));
  installLingeringClose(fastify, app.get(Shutdown));
  closeSilentConnections(fastify);
  // Hooks instead of interceptors: one interceptor makes Nest create a dozen promises and Observables per request.
  installCallContext(fastify);
  installDryRun(fastify);
  installPreconditions(fastify);
  installOperationRoutes(fastify);
  app.useGlobalFilters(
    new AllExceptionsFilter((error, request) => recordRestRefusal(recorder, error, request)),
  );
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

/** Builds the application, opens the port and starts the suite. After a failure nothing is left running. */
export async function startApp(
  settings: Settings,
  options: AppOptions = {},
): Promise<NestFastifyApplication> {
  const app = await createApp(settings, options);
  const tailnet = settings.api.tailnet ? installTailnetListeners(app, settings.api.port) : undefined;
  try {
    const lifecycle = app.get(LifecycleService);
    await lifecycle.open();
    await waitForAll(lifecycle.checkConfiguration(), app.listen(settings.api.port, settings.api.host));
    new Logger('api').log(`Listening on ${await app.getUrl()}: /api/v1, /mcp, /docs.`);
    await tailnet?.open();
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

/** Logs text to a terminal, and JSON otherwise. */
function loggerFor(settings: Settings): LoggerService {
  const isTerminal = process.stdout.isTTY;
  return new SuiteLogger({
    json: !isTerminal,
    colors: isTerminal,
    logLevels: [...LEVELS[settings.logLevel]],
    journalStream: settings.systemd.journalStream,
    requestId: () => callContext().requestId,
  });
}

/** They close with the port: HAProxy and the state are closed after the last request of the tailnet too. */
function installTailnetListeners(app: NestFastifyApplication, port: number): TailnetListeners {
  const listeners = new TailnetListeners(app.getHttpServer(), port);
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('preClose', () => listeners.close());
  return listeners;
}

/** Closes connections after their last response during shutdown. Idle connections would delay it until they time out. */
function installCloseOnShutdown(fastify: FastifyInstance, shutdown: Shutdown): void {
  fastify.addHook('onSend', (_request, reply, payload, done) => {
    if (shutdown.signal.aborted) void reply.header('connection', 'close');
    done(null, payload);
  });
}
