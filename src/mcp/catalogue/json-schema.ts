type JsonSchema = { [keyword: string]: unknown };
export type ObjectSchema = JsonSchema & { type: 'object' };

/** OpenAPI extension that `ArrayField` sets for its option `orJsonText`. */
const OR_JSON_TEXT = 'x-or-json-text';
/** OpenAPI extension that `NestedField` sets for its option `briefInTools`. */
const BRIEF_IN_TOOLS = 'x-brief-in-tools';
const KEPT_EXTENSIONS: ReadonlySet<string> = new Set([OR_JSON_TEXT, BRIEF_IN_TOOLS]);
const COMPONENT_PREFIX = '#/components/schemas/';
const DEFINITION_PREFIX = '#/$defs/';

interface ConversionOptions {
  /** For the arguments of a tool: unknown names are refused, and lists marked `orJsonText` may also be JSON text. */
  input: boolean;
}

/**
 * Converts a schema of an OpenAPI document to JSON Schema 2020-12. The result contains every schema that it refers to,
 * in `$defs`.
 *
 * @throws Error if the schema does not describe an object, as MCP requires of the schemas of tools
 */
export function toToolSchema(
  components: Record<string, unknown>,
  name: string,
  options: ConversionOptions,
): ObjectSchema {
  const converted = convert(components[name], options) as JsonSchema;
  if (converted['type'] !== 'object') throw new Error(`The schema of ${name} is not an object.`);
  const all = definitionsFor(converted, components, options);
  const root = options.input
    ? (withInlined(converted, all, usedOnce(converted, all)) as JsonSchema)
    : converted;
  const definitions = options.input ? definitionsFor(root, components, options) : all;
  return {
    ...(root as ObjectSchema),
    ...(Object.keys(definitions).length > 0 && { $defs: definitions }),
  };
}

/** Collects the schemas that `root` refers to, directly or not, sorted by name. */
function definitionsFor(
  root: JsonSchema,
  components: Record<string, unknown>,
  options: ConversionOptions,
): Record<string, unknown> {
  const definitions: Record<string, unknown> = {};
  const pending = [...referencesIn(root)];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name in definitions) continue;
    const schema = convert(components[name], options);
    definitions[name] = schema;
    pending.push(...referencesIn(schema));
  }
  return Object.fromEntries(Object.entries(definitions).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The definitions that one place refers to, and that refer to no other. In that place they are shorter. */
function usedOnce(root: JsonSchema, definitions: Record<string, unknown>): ReadonlySet<string> {
  const text = JSON.stringify([root, definitions]);
  const isUsedOnce = (name: string) => text.split(`"${DEFINITION_PREFIX}${name}"`).length === 2;
  return new Set(
    Object.keys(definitions).filter((name) => isUsedOnce(name) && referencesIn(definitions[name]).size === 0),
  );
}

function withInlined(
  node: unknown,
  definitions: Record<string, unknown>,
  names: ReadonlySet<string>,
): unknown {
  if (Array.isArray(node)) return node.map((item) => withInlined(item, definitions, names));
  if (typeof node !== 'object' || node === null) return node;
  const { $ref, ...rest } = node as JsonSchema;
  const name = typeof $ref === 'string' ? $ref.replace(DEFINITION_PREFIX, '') : '';
  if (names.has(name)) return { ...(definitions[name] as JsonSchema), ...rest };
  return Object.fromEntries(
    Object.entries(node).map(([key, value]) => [key, withInlined(value, definitions, names)]),
  );
}

function referencesIn(schema: unknown): Set<string> {
  const names = new Set<string>();
  JSON.stringify(schema, (key, value: unknown) => {
    if (key === '$ref' && typeof value === 'string') names.add(value.replace(DEFINITION_PREFIX, ''));
    return value;
  });
  return names;
}

function convert(node: unknown, options: ConversionOptions): unknown {
  if (Array.isArray(node)) return node.map((item) => convert(item, options));
  if (typeof node !== 'object' || node === null) return node;
  const schema: JsonSchema = {};
  for (const [keyword, value] of Object.entries(node)) {
    // Strict validators refuse keywords that they do not know, such as the extensions of OpenAPI.
    if (value === undefined || (keyword.startsWith('x-') && !KEPT_EXTENSIONS.has(keyword))) continue;
    if (keyword === 'example') schema['examples'] = [value];
    else if (keyword === '$ref') schema[keyword] = String(value).replace(COMPONENT_PREFIX, DEFINITION_PREFIX);
    else if (keyword === 'properties') schema[keyword] = convertProperties(value as JsonSchema, options);
    else if (keyword === 'default' || keyword === 'enum' || keyword === 'const') schema[keyword] = value;
    else schema[keyword] = convert(value, options);
  }
  return replaceOpenApiKeywords(schema, options);
}

/** Property names are not keywords: a field may have the name `example`. */
function convertProperties(properties: JsonSchema, options: ConversionOptions): JsonSchema {
  return Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [name, convert(schema, options)]),
  );
}

function replaceOpenApiKeywords(openApi: JsonSchema, { input }: ConversionOptions): JsonSchema {
  const { allOf, nullable, [OR_JSON_TEXT]: orJsonText, [BRIEF_IN_TOOLS]: brief, ...rest } = openApi;
  if (brief === true && input)
    return { type: 'object', description: rest['description'], examples: rest['examples'] };
  replaceBooleanBound(rest, 'minimum', 'exclusiveMinimum');
  replaceBooleanBound(rest, 'maximum', 'exclusiveMaximum');
  // OpenAPI 3.0 needs an `allOf` with one schema to add a description to a `$ref`. 2020-12 allows both in one schema.
  const single: unknown = Array.isArray(allOf) && allOf.length === 1 ? allOf[0] : undefined;
  let schema: JsonSchema =
    single === undefined
      ? { ...rest, ...(allOf !== undefined && { allOf }) }
      : { ...(single as JsonSchema), ...rest };
  if (input && schema['type'] === 'object' && schema['properties'] !== undefined)
    schema = {
      ...schema,
      properties: withFewExamples(schema['properties'] as JsonSchema, (schema['required'] ?? []) as string[]),
      additionalProperties: schema['additionalProperties'] ?? false,
    };
  if (orJsonText === true && input) schema = orText(schema);
  if (nullable !== true) return schema;
  if (input && typeof schema['type'] === 'string' && schema['enum'] === undefined)
    return { ...schema, type: [schema['type'], 'null'] };
  return { anyOf: [schema, { type: 'null' }] };
}

/**
 * Keeps the examples of texts and lists that a caller must give. Every client loads the schemas of all tools, and a
 * model needs no example of a number or of a value that `enum` lists. It needs no pattern and no largest length either: the
 * description says what is allowed, and so does the error. Nor does it need to know that an absent boolean is false.
 */
function withFewExamples(properties: JsonSchema, required: readonly string[]): JsonSchema {
  return Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => {
      const { examples, pattern: _pattern, maxLength: _maxLength, ...rest } = schema as JsonSchema;
      if (rest['default'] === false) delete rest['default'];
      const isClear = 'enum' in rest || rest['type'] === 'integer' || rest['type'] === 'boolean';
      return [name, required.includes(name) && !isClear && examples ? { ...rest, examples } : rest];
    }),
  );
}

/** In OpenAPI 3.0 `exclusiveMinimum` is a boolean beside `minimum`. In 2020-12 it is the bound itself. */
function replaceBooleanBound(schema: JsonSchema, bound: string, exclusiveBound: string): void {
  if (typeof schema[exclusiveBound] !== 'boolean') return;
  if (schema[exclusiveBound]) {
    schema[exclusiveBound] = schema[bound];
    delete schema[bound];
  } else delete schema[exclusiveBound];
}

function orText(schema: JsonSchema): JsonSchema {
  const { description, examples, ...list } = schema;
  return {
    ...(description !== undefined && { description }),
    ...(examples !== undefined && { examples }),
    anyOf: [list, { type: 'string' }],
  };
}
