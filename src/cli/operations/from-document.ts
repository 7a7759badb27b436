import { type CliField, type CliOperation, IF_MATCH_FIELD } from './operation.js';

interface Schema {
  $ref?: string;
  allOf?: Schema[];
  type?: string | string[];
  enum?: string[];
  description?: string;
  default?: unknown;
  example?: unknown;
  writeOnly?: boolean;
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  required?: string[];
}

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

interface Route {
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema?: Schema; example?: unknown }> };
  'x-cli'?: Pick<CliOperation, 'command' | 'tool' | 'wanted' | 'becomesHealthy'>;
}

/** The part of the OpenAPI document that has the operations. */
export interface ApiDocument {
  paths: Record<string, unknown>;
  components?: { schemas?: Record<string, unknown> };
}

const METHODS = ['get', 'put', 'post', 'delete'] as const;

/** The operations of the OpenAPI document that `@Serves` declares, sorted by command. Pure. */
export function operationsOf(document: ApiDocument): CliOperation[] {
  const schemas = (document.components?.schemas ?? {}) as Record<string, Schema>;
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const route = (item as Partial<Record<string, Route>>)[method];
      return route?.['x-cli'] ? [toOperation(method, path, route, route['x-cli'], schemas)] : [];
    }),
  );
  return operations.toSorted((a, b) => (a.command < b.command ? -1 : 1));
}

function toOperation(
  method: string,
  path: string,
  { summary = '', description = '', parameters = [], requestBody }: Route,
  declared: NonNullable<Route['x-cli']>,
  schemas: Record<string, Schema>,
): CliOperation {
  const media = requestBody?.content ?? {};
  const json = media['application/json'];
  const body = resolve(json?.schema ?? {}, schemas);
  const isContent = requestBody !== undefined && body.properties === undefined;
  const ofParameters = parameters.flatMap((one) =>
    one.in === 'path' || one.in === 'query'
      ? [toField(one.name, one.in, { ...one.schema, ...described(one) }, one.required === true, schemas)]
      : [],
  );
  // `dry_run` is read in both. In the query, a token that may only read can send it.
  const inQuery = new Set(ofParameters.map(({ name }) => name));
  const ofBody = isContent ? [] : fieldsOf(body, 'body', schemas).filter(({ name }) => !inQuery.has(name));
  const ofHeaders = parameters.flatMap((one): CliField[] => {
    if (one.in !== 'header' || one.name !== 'If-Match') return [];
    return [toField(IF_MATCH_FIELD, one.in, { ...one.schema, ...described(one) }, false, schemas)];
  });
  const inPath = parameters.flatMap(({ name, in: where, schema, required }) =>
    (where === 'path' || required === true) && schema?.example !== undefined ? [[name, schema.example]] : [],
  );
  return {
    ...declared,
    method: method.toUpperCase(),
    path,
    title: summary,
    description,
    fields: [...ofParameters, ...ofBody, ...ofHeaders],
    ...(isContent && { content: Object.keys(media) }),
    example: {
      ...(Object.fromEntries(inPath) as Record<string, unknown>),
      ...(isContent ? {} : (json?.example as object | undefined)),
    },
  };
}

function described({ description }: Parameter): { description?: string } {
  return description === undefined ? {} : { description };
}

function fieldsOf(schema: Schema, where: CliField['in'], schemas: Record<string, Schema>): CliField[] {
  return Object.entries(schema.properties ?? {}).map(([name, one]) =>
    toField(name, where, one, schema.required?.includes(name) === true, schemas),
  );
}

function toField(
  name: string,
  where: CliField['in'],
  schema: Schema,
  required: boolean,
  schemas: Record<string, Schema>,
): CliField {
  const full = resolve(schema, schemas);
  const type = [full.type ?? 'object'].flat()[0] as CliField['type'];
  const items = full.items ? fieldsOf(resolve(full.items, schemas), where, schemas) : [];
  return {
    name,
    in: where,
    type,
    required,
    description: schema.description ?? full.description ?? '',
    ...(full.enum && { enum: full.enum }),
    ...(full.default !== undefined && { default: full.default }),
    ...(full.writeOnly && { secret: true as const }),
    ...(items.length > 0 && { items }),
    ...(isPairs(full) && { pairs: true as const }),
  };
}

function isPairs({ additionalProperties: value }: Schema): boolean {
  return typeof value === 'object' && value.type === 'string';
}

function resolve(schema: Schema, schemas: Record<string, Schema>): Schema {
  const reference = schema.$ref ?? schema.allOf?.[0]?.$ref;
  return reference === undefined ? schema : (schemas[reference.split('/').at(-1) ?? ''] ?? {});
}
