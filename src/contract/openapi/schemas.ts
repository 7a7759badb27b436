import type { Operation, Schema } from './notes.js';

type Schemas = Record<string, Schema>;

/** The names of the components of a kind that a part of the document refers to, not through other components. */
export function namesIn(part: unknown, kind: 'schemas' | 'responses'): Set<string> {
  const prefix = `#/components/${kind}/`;
  const names = new Set<string>();
  JSON.stringify(part, (key, value: unknown) => {
    if (key === '$ref' && typeof value === 'string' && value.startsWith(prefix))
      names.add(value.slice(prefix.length));
    return value;
  });
  return names;
}

/**
 * Gives each schema a description, from the texts that exist: it is the result or the body of an operation, or else the
 * value of a field. `@ApiSchema` wins.
 */
export function addSchemaDescriptions(operations: readonly Operation[], schemas: Schemas): void {
  const results = titlesByName(operations, ({ responses }) => responses);
  const bodies = titlesByName(operations, ({ requestBody }) => requestBody);
  const fields = fieldTextsByName(schemas);
  for (const [name, schema] of Object.entries(schemas)) {
    const description =
      schema.description ??
      textFor('Result', results.get(name)) ??
      textFor('Body', bodies.get(name)) ??
      fields.get(name);
    if (description !== undefined) schemas[name] = { description, ...schema };
  }
}

function textFor(what: string, titles: readonly string[] | undefined): string | undefined {
  return titles && `${what} of: ${titles.join('; ')}.`;
}

function titlesByName(
  operations: readonly Operation[],
  partOf: (operation: Operation) => unknown,
): Map<string, string[]> {
  const titles = new Map<string, string[]>();
  for (const operation of operations)
    for (const name of namesIn(partOf(operation), 'schemas'))
      titles.set(name, [...(titles.get(name) ?? []), operation.summary ?? '']);
  return titles;
}

/** The description of the first field whose value has the schema. */
function fieldTextsByName(schemas: Schemas): Map<string, string> {
  const texts = new Map<string, string>();
  for (const { properties = {} } of Object.values(schemas))
    for (const field of Object.values(properties))
      for (const name of namesIn(field, 'schemas')) {
        const { description, items } = field;
        if (description === undefined || texts.has(name)) continue;
        texts.set(name, items === undefined ? description : `An element of: ${description}`);
      }
  return texts;
}
