import type { INestApplication, Type } from '@nestjs/common';
import { DocumentBuilder, getSchemaPath, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';

/** The document that /openapi.json serves and openapi/openapi.json holds. Needs neither listen() nor HAProxy. */
export function openApiDocument(app: INestApplication, version: string): OpenAPIObject {
  const config = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('HAProxy Suite')
    .setDescription(
      'Domains, servers and certificates of a running HAProxy, changed without a reload. ' +
        'Errors are problem details (RFC 9457) with a `code` from one catalogue.',
    )
    .setVersion(version)
    .setLicense('MIT', 'https://spdx.org/licenses/MIT.html')
    .addServer('/')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'A token from MCP_TOKEN_FILE.' })
    .build();
  return sorted(SwaggerModule.createDocument(app, config));
}

/** The schemas of DTO classes and of everything they refer to, by name, as `#/components/schemas` holds them. */
export function schemasOf(app: INestApplication, models: readonly Type[]): Record<string, unknown> {
  const config = new DocumentBuilder().setOpenAPIVersion('3.1.0').build();
  const document = SwaggerModule.createDocument(app, config, { extraModels: [...models] });
  return { ...document.components?.schemas };
}

/** The name of a class's schema: its own, or the one `@ApiSchema` gives it. */
export function schemaName(type: Type): string {
  return getSchemaPath(type).replace('#/components/schemas/', '');
}

/** The same code gives the same bytes, whichever module was loaded first. */
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
