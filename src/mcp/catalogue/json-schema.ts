/** OpenAPI schemas → JSON Schema 2020-12, self-contained: what a schema refers to stands in its own `$defs`. */
export type JsonSchema = { [keyword: string]: unknown };
export type ObjectSchema = JsonSchema & { type: 'object' };

/** Set by ArrayField's `orJsonText`. */
const OR_TEXT = 'x-or-json-text';
const COMPONENT = '#/components/schemas/';

export interface Conversion {
  /** Arguments: unknown names are refused, and a list may also come as a string holding JSON. */
  input: boolean;
}

/** The schema of one component. @throws Error where it is not an object, as MCP asks of tools. */
export function toolSchema(schemas: Record<string, unknown>, name: string, how: Conversion): ObjectSchema {
  const root = convert(schemas[name], how) as JsonSchema;
  if (root['type'] !== 'object') throw new Error(`The schema of ${name} is not an object.`);
  const definitions = definitionsOf(schemas, root, how);
  return {
    ...(root as ObjectSchema),
    ...(Object.keys(definitions).length > 0 && { $defs: definitions }),
  };
}

function definitionsOf(
  schemas: Record<string, unknown>,
  root: JsonSchema,
  how: Conversion,
): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  const pending = [...referencesIn(root)];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name in found) continue;
    const schema = convert(schemas[name], how);
    found[name] = schema;
    pending.push(...referencesIn(schema));
  }
  return Object.fromEntries(Object.entries(found).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function referencesIn(schema: unknown): Set<string> {
  const names = new Set<string>();
  JSON.stringify(schema, (key, value: unknown) => {
    if (key === '$ref' && typeof value === 'string') names.add(value.replace('#/$defs/', ''));
    return value;
  });
  return names;
}

function convert(node: unknown, how: Conversion): unknown {
  if (Array.isArray(node)) return node.map((item) => convert(item, how));
  if (typeof node !== 'object' || node === null) return node;
  const schema: JsonSchema = {};
  for (const [keyword, value] of Object.entries(node)) {
    // OpenAPI's extensions mean nothing to a client of MCP, and strict validators refuse them.
    if (value === undefined || (keyword.startsWith('x-') && keyword !== OR_TEXT)) continue;
    if (keyword === 'example') schema['examples'] = [value];
    else if (keyword === '$ref') schema[keyword] = String(value).replace(COMPONENT, '#/$defs/');
    else if (keyword === 'properties') schema[keyword] = convertEach(value as JsonSchema, how);
    else if (keyword === 'default' || keyword === 'enum' || keyword === 'const') schema[keyword] = value;
    else schema[keyword] = convert(value, how);
  }
  return finish(schema, how);
}

/** Property names are not keywords: a field may be called `example`. */
function convertEach(properties: JsonSchema, how: Conversion): JsonSchema {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, convert(schema, how)]));
}

function finish(given: JsonSchema, how: Conversion): JsonSchema {
  const { allOf, nullable, [OR_TEXT]: orText, ...rest } = given;
  exclusive(rest, 'minimum', 'exclusiveMinimum');
  exclusive(rest, 'maximum', 'exclusiveMaximum');
  // `allOf` of one is how OpenAPI 3.0 puts a description beside a reference; 2020-12 allows it directly.
  const single: unknown = Array.isArray(allOf) && allOf.length === 1 ? allOf[0] : undefined;
  let schema: JsonSchema =
    single === undefined
      ? { ...rest, ...(allOf !== undefined && { allOf }) }
      : { ...(single as JsonSchema), ...rest };
  if (how.input && schema['type'] === 'object' && schema['properties'] !== undefined)
    schema = { ...schema, additionalProperties: schema['additionalProperties'] ?? false };
  if (orText === true && how.input) schema = withText(schema);
  return nullable === true ? { anyOf: [schema, { type: 'null' }] } : schema;
}

function exclusive(schema: JsonSchema, bound: string, keyword: string): void {
  if (typeof schema[keyword] !== 'boolean') return;
  if (schema[keyword]) {
    schema[keyword] = schema[bound];
    delete schema[bound];
  } else delete schema[keyword];
}

function withText(schema: JsonSchema): JsonSchema {
  const { description, examples, ...list } = schema;
  return {
    ...(description !== undefined && { description }),
    ...(examples !== undefined && { examples }),
    anyOf: [list, { type: 'string', description: 'The same list as JSON text.' }],
  };
}
