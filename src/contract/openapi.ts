import type { INestApplication, Type } from '@nestjs/common';
import { DocumentBuilder, getSchemaPath, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { completeDocument } from './openapi/complete-document.js';

/** The document of /openapi.json and openapi/openapi.json. Needs neither listen() nor HAProxy. */
export function openApiDocument(app: INestApplication, version: string): OpenAPIObject {
  const config = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('HAProxy Suite')
    .setDescription(
      'Domains, servers and certificates of a running HAProxy, changed without a reload. ' +
        'Errors are problem details (RFC 9457) with a `code` from one catalogue. A known path with another method gets ' +
        '405 and the methods in `Allow`.',
    )
    .setVersion(version)
    .setLicense('MIT', 'https://spdx.org/licenses/MIT.html')
    .addServer('/')
    .addBearerAuth({
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'opaque',
      description: 'A token from MCP_TOKEN_FILE or TOKENS_FILE.',
    })
    .build();
  return sorted(completeDocument(SwaggerModule.createDocument(app, config)));
}

/** The schemas of DTO classes and of all schemas they refer to, by name, as in `#/components/schemas`. */
export function schemasOf(app: INestApplication, models: readonly Type[]): Record<string, unknown> {
  const config = new DocumentBuilder().setOpenAPIVersion('3.1.0').build();
  const document = SwaggerModule.createDocument(app, config, { extraModels: [...models] });
  return { ...document.components?.schemas };
}

/** The schema name of a class: the class name, or the name that `@ApiSchema` gives. */
export function schemaName(type: Type): string {
  return getSchemaPath(type).replace('#/components/schemas/', '');
}

/** Sorts routes and schemas, so that the document does not depend on the order in which modules load. */
function sorted(document: OpenAPIObject): OpenAPIObject {
  return {
    ...document,
    paths: byKey(document.paths),
    components: { ...document.components, schemas: byKey(document.components?.schemas ?? {}) },
  };
}

function byKey<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Swagger UI and its document. Browsers open them, and a browser cannot send a Bearer header for a page. */
export function isDocsPath(path: string): boolean {
  return path === '/docs' || path.startsWith('/docs/') || path === '/openapi.json';
}
