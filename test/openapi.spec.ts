import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Ajv2020 } from 'ajv/dist/2020.js';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from './kit/certificates/certificates.js';
import { freePort } from './kit/free-port.js';
import { oldestHaproxy } from './kit/haproxy/haproxy-versions.js';
import { type Home, makeHome, Suite } from './kit/suite/suite.js';
import { tempHome } from './kit/temp-home.js';
import { toolPath } from './kit/tool-path.js';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..');
const DOCUMENT = join(ROOT, 'openapi/openapi.json');
const METHODS = ['get', 'put', 'post', 'delete'] as const;

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: unknown;
  required?: string[];
  pattern?: string;
  example?: unknown;
  default?: unknown;
  $ref?: string;
}
type Content = Record<
  string,
  { schema: Schema; example?: unknown; examples?: Record<string, { value: object }> }
>;
interface Operation {
  operationId: string;
  tags: string[];
  security: object[];
  parameters?: { name: string; in: string; required?: boolean; schema: Schema }[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<string, { $ref?: string; content?: Content }>;
}
interface Document {
  tags: { name: string; description?: string }[];
  paths: Record<string, Partial<Record<string, Operation>>>;
  components: {
    schemas: Record<string, Schema>;
    responses: Record<string, { content: Content }>;
    securitySchemes: Record<string, object>;
  };
}

const document = JSON.parse(await readFile(DOCUMENT, 'utf8')) as Document;

const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  METHODS.flatMap((method) => {
    const operation = item[method];
    return operation ? [{ path, method, operation, id: operation.operationId }] : [];
  }),
);
const operationOf = (id: string) => {
  const found = operations.find((one) => one.id === id);
  if (!found) throw new Error(`the document has no operation ${id}`);
  return found;
};
const schemaOf = (name: string) => document.components.schemas[name] ?? {};
/** The schema of a JSON body with fields. */
const bodySchema = ({ requestBody }: Operation) => {
  const reference = requestBody?.content['application/json']?.schema.$ref;
  return reference === undefined ? undefined : schemaOf(reference.split('/').at(-1) ?? '');
};

/** The environment of a tool that must not call home. */
const OFFLINE = {
  ...process.env,
  REDOCLY_TELEMETRY: 'off',
  REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
  NO_COLOR: '1',
};

/** The output of a command, whether or not it fails. */
const outputOf = (file: string, args: readonly string[]) =>
  run(file, args, { env: OFFLINE, maxBuffer: 64 * 1024 * 1024 }).then(
    ({ stdout }) => stdout,
    ({ stdout, stderr }: { stdout: string; stderr: string }) => (stdout === '' ? stderr : stdout),
  );

/** A parameter as text. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

describe('the OpenAPI document', () => {
  it(
    'passes spectral:oas and the recommended rules of Redocly without a warning',
    { timeout: 120_000 },
    async () => {
      const rules = (name: string) => join(import.meta.dirname, 'fixtures', name);
      const [spectral, redocly] = await Promise.all([
        outputOf(toolPath('spectral'), [
          'lint',
          DOCUMENT,
          '--ruleset',
          rules('spectral.yaml'),
          '--format',
          'json',
          '--quiet',
        ]),
        outputOf(toolPath('redocly'), [
          'lint',
          DOCUMENT,
          '--config',
          rules('redocly.yaml'),
          '--format',
          'json',
        ]),
      ]);
      expect(JSON.parse(spectral)).toEqual([]);
      expect(JSON.parse(redocly)).toMatchObject({ problems: [] });
    },
  );

  it('requires path parameters, and a body only where one of its fields is required', () => {
    for (const { id, operation } of operations) {
      for (const parameter of operation.parameters ?? [])
        if (parameter.in === 'path') expect(parameter, id).toMatchObject({ required: true });
      const schema = bodySchema(operation);
      if (schema)
        expect(operation.requestBody, id).toMatchObject({ required: (schema.required ?? []).length > 0 });
    }
    expect(operationOf('reload').operation.requestBody).toMatchObject({ required: false });
    expect(operationOf('put_domain').operation.requestBody).toMatchObject({ required: false });
    expect(operationOf('add_domain').operation.requestBody).toMatchObject({ required: true });
    expect(operationOf('import_domains').operation.requestBody).toMatchObject({ required: true });
  });

  it('allows no other fields in a body, and shows the form of domains and addresses', () => {
    const bodies = ['AddDomainDto', 'AddServersBodyDto', 'ServerInputDto', 'DryRunDto', 'DomainRecordDto'];
    for (const name of bodies) expect(schemaOf(name), name).toMatchObject({ additionalProperties: false });
    const { domain, ip } = schemaOf('AddDomainDto').properties ?? {};
    expect(domain?.pattern).toBeDefined();
    expect(ip?.pattern).toBeDefined();
    const [path] = operationOf('remove_domain').operation.parameters ?? [];
    expect(path?.schema.pattern).toBe(domain?.pattern);
    const address = new RegExp(schemaOf('ReplaceServerDto').properties?.['from']?.pattern ?? '');
    for (const given of ['10.0.0.1', '10.0.0.1:80', '2001:db8::1', '[2001:db8::1]', '[2001:db8::1]:80'])
      expect(given).toMatch(address);
    expect('backend.example').not.toMatch(address);
  });

  it('describes lines of text apart from JSON', () => {
    for (const content of [
      operationOf('export_domains').operation.responses['200']?.content,
      operationOf('import_domains').operation.requestBody?.content,
    ]) {
      expect(content?.['application/x-ndjson']?.schema).toMatchObject({ type: 'string' });
      expect(content?.['application/json']?.schema).toMatchObject({ type: 'array' });
    }
  });

  it('refers to one response for each error status, whose examples have its status and code', () => {
    const { schemas, responses } = document.components;
    for (const { id, method, operation } of operations) {
      const secured = operation.security.length > 0 ? [401, 403] : [];
      const withBody = method === 'get' ? [] : [413, 415];
      for (const status of [400, 500, ...secured, ...withBody])
        expect(Object.keys(operation.responses), id).toContain(String(status));
      for (const [status, { $ref }] of Object.entries(operation.responses))
        if (Number(status) >= 400 && id !== 'readyz')
          expect($ref, `${id} ${status}`).toMatch(/^#\/components\/responses\//);
    }
    expect(schemas['Problem']?.required).toContain('code');
    for (const [name, { content }] of Object.entries(responses)) {
      const { schema, examples = {} } = content['application/problem+json'] ?? {};
      expect(schema).toEqual({ $ref: '#/components/schemas/Problem' });
      const statuses = operations.flatMap(({ operation }) =>
        Object.entries(operation.responses).flatMap(([status, { $ref }]) =>
          $ref === `#/components/responses/${name}` ? [Number(status)] : [],
        ),
      );
      expect(new Set(statuses).size, name).toBe(1);
      for (const [code, { value }] of Object.entries(examples))
        expect(value).toMatchObject({ code, status: statuses[0], type: `urn:haproxy-suite:error:${code}` });
    }
  });

  it('describes each schema and each tag, and has one spelling of a tag', () => {
    for (const [name, { description }] of Object.entries(document.components.schemas))
      expect(description, name).toBeTruthy();
    for (const tag of document.tags) expect(tag.description, tag.name).toBeTruthy();
    const used = new Set(operations.flatMap(({ operation }) => operation.tags));
    expect([...used].toSorted()).toEqual(document.tags.map(({ name }) => name));
    expect(document.components.securitySchemes).toMatchObject({ bearer: { bearerFormat: 'opaque' } });
  });
});

describe('texts', () => {
  const tools = new Set(
    operations.flatMap(({ id }) => [`haproxy_${id}`, `haproxy_${id.replace(/_domains$/, '')}`]),
  );

  it('name operations as routes, and no tool', () => {
    const texts: string[] = [];
    const collect = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [key, inner] of Object.entries(value) as [string, unknown][])
        if (['description', 'summary', 'title'].includes(key) && typeof inner === 'string') texts.push(inner);
        else collect(inner);
    };
    collect(document);
    expect(texts.length).toBeGreaterThan(500);
    for (const text of texts)
      for (const [name] of text.matchAll(/\{?haproxy_[a-z_]+/g))
        expect(tools.has(name.replace('{', '')), text).toBe(false);
    expect(JSON.stringify(operationOf('add_domain'))).toContain('PUT /api/v1/domains/{domain} changes it');
  });

  it('of the source for callers name an operation only as {haproxy_x}', async () => {
    const root = join(import.meta.dirname, '../src');
    const bare: string[] = [];
    // Texts of MCP alone may name tools.
    const files = (await readdir(root, { recursive: true })).filter(
      (file) => file.endsWith('.ts') && !file.endsWith('.spec.ts') && !file.startsWith('mcp/'),
    );
    for (const file of files) {
      const text = await readFile(join(root, file), 'utf8');
      if (!/(?<![{\w])haproxy_[a-z]/.test(text)) continue;
      const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
      const visit = (node: ts.Node): void => {
        if (
          ts.isStringLiteralLike(node) ||
          ts.isTemplateHead(node) ||
          ts.isTemplateMiddleOrTemplateTail(node)
        )
          // A text that is only a name is data.
          if (!/^haproxy_[a-z_]+$/.test(node.text))
            for (const [name] of node.text.matchAll(/(?<![{\w])haproxy_[a-z_]+/g))
              if (tools.has(name)) bare.push(`${file}: ${node.text}`);
        ts.forEachChild(node, visit);
      };
      visit(source);
    }
    expect(files.length).toBeGreaterThan(200);
    expect(bare).toEqual([]);
  });

  it('describe each 201 with a Location, beside the 200 of a dry run', () => {
    const created = operations.filter(({ operation }) => '201' in operation.responses);
    expect(created.map(({ id }) => id).toSorted()).toEqual([
      'add_domain',
      'add_server',
      'add_servers',
      'add_token',
      'put_domain',
    ]);
    for (const { id, operation } of created) {
      expect(operation.responses['201'], id).toHaveProperty('headers.Location');
      expect(operation.responses, id).toHaveProperty('200');
    }
  });
});

describe('a running suite', () => {
  let home: Home;
  let suite: Suite;
  let work: Awaited<ReturnType<typeof tempHome>>;
  let token: string;
  const ajv = new Ajv2020({ strict: false, validateFormats: false });

  beforeAll(async () => {
    ajv.addSchema(document, 'openapi');
    work = await tempHome();
    home = await makeHome(oldestHaproxy(), { HAPROXY_HTTPS_BIND: `127.0.0.1:${await freePort()}` });
    // The examples name example.com. It has a certificate that acme.sh issued. No dry run starts acme.sh.
    await mkdir(join(home.path, 'certs'), { recursive: true });
    await mkdir(join(home.path, 'conf'), { recursive: true });
    const { pem } = await makeCertificate(work.path, { names: ['example.com'] });
    await writeFile(join(home.path, 'certs/example.com.pem'), pem);
    const managed = { wildcard: false, failures: 0, last_attempt: null, last_error: null };
    const certificates = { version: 1, renew_minute: 1, certificates: { 'example.com': managed } };
    await writeFile(join(home.path, 'conf/certificates.json'), JSON.stringify(certificates));
    const acme = join(work.path, 'acme.sh');
    await writeFile(acme, '#!/bin/sh\nexit 1\n');
    await chmod(acme, 0o755);
    Object.assign(home.env, { ACME_SH: acme, ACME_SERVER: 'letsencrypt' });
    suite = await Suite.start(home);
    token = await suite.token();
    const added = await suite.api('POST', '/domains', { domain: 'example.com', ip: '10.0.0.1' });
    expect(added.status).toBe(201);
    expect((await suite.api('POST', '/tokens', { name: 'ci', role: 'read' })).status).toBe(201);
  });
  afterAll(async () => {
    await suite?.stop();
    await home?.remove();
    await work?.remove();
  });

  /** Sends an operation with its examples, as Swagger UI does: defaults too, but no parameter without either. */
  async function sendExample(id: string, { dryRun = false } = {}) {
    const { path, method, operation } = operationOf(id);
    const query = new URLSearchParams();
    let filled = path;
    for (const { name, in: place, schema } of operation.parameters ?? []) {
      const value = schema.example ?? schema.default;
      if (value === undefined) continue;
      if (place === 'path') filled = filled.replace(`{${name}}`, encodeURIComponent(textOf(value)));
      else if (place === 'query') query.set(name, textOf(value));
    }
    const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    let body = media?.example;
    if (dryRun && bodySchema(operation)?.properties?.['dry_run'])
      body = { ...(body as object), dry_run: true };
    else if (dryRun && query.has('dry_run')) query.set('dry_run', 'true');
    const response = await fetch(`${suite.url}${filled}?${query.toString()}`, {
      method: method.toUpperCase(),
      headers: { authorization: `Bearer ${token}`, ...(type !== undefined && { 'content-type': type }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return {
      status: response.status,
      type: response.headers.get('content-type') ?? '',
      text: await response.text(),
    };
  }

  /** Fails unless the document describes the status, the content type and the form of the answer. */
  function expectDescribed(
    id: string,
    { status, type, text }: Awaited<ReturnType<typeof sendExample>>,
  ): void {
    const { path, method, operation } = operationOf(id);
    const declared = operation.responses[String(status)];
    expect(declared, `${id} answers ${status}: ${text}`).toBeDefined();
    const content = declared?.$ref
      ? document.components.responses[declared.$ref.split('/').at(-1) ?? '']?.content
      : declared?.content;
    const media = type.split(';', 1)[0] ?? '';
    expect(Object.keys(content ?? {}), id).toContain(media);
    if (media !== 'application/json') return;
    const pointer = ['paths', path, method, 'responses', String(status), 'content', media, 'schema']
      .map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')))
      .join('/');
    const validate = ajv.compile({ $ref: `openapi#/${pointer}` });
    expect(validate(JSON.parse(text)), `${id}: ${ajv.errorsText(validate.errors)} ${text}`).toBe(true);
  }

  it('answers the example of each GET', async () => {
    for (const { id, method } of operations) {
      if (method !== 'get') continue;
      const answer = await sendExample(id);
      // An operation has a random id.
      expect(answer.status, `${id}: ${answer.text}`).toBe(id === 'get_operation' ? 404 : 200);
      expectDescribed(id, answer);
    }
  });

  it('accepts the example of each other request, as a dry run if it changes something', async () => {
    const domains = async () => (await suite.api('GET', '/export?format=json')).body;
    const before = await domains();
    const others = operations.filter(({ method }) => method !== 'get');
    const answers = others.map(async ({ id }) => ({ id, answer: await sendExample(id, { dryRun: true }) }));
    for (const { id, answer } of await Promise.all(answers)) {
      expect(answer.status, `${id}: ${answer.text}`).toBeLessThan(300);
      expectDescribed(id, answer);
    }
    expect(await domains()).toEqual(before);
  });

  it('serves the TypeScript client of docs/clients.md', { timeout: 240_000 }, async () => {
    const docs = await readFile(join(ROOT, 'docs/clients.md'), 'utf8');
    const client = /```ts\n([^]*?)```/.exec(docs)?.[1] ?? '';
    const flags = /npx openapi-typescript openapi\.json (.*)/.exec(docs)?.[1]?.split(' ') ?? [];
    await writeFile(join(work.path, 'client.ts'), client);
    await writeFile(join(work.path, 'package.json'), '{ "type": "module" }');
    await symlink(join(ROOT, '.tools/openapi-tools/root/node_modules'), join(work.path, 'node_modules'));
    const options = { cwd: work.path, env: OFFLINE };
    await run(toolPath('openapi-typescript'), [DOCUMENT, ...flags], options);
    const tsc = [
      join(ROOT, 'node_modules/typescript/bin/tsc'),
      '--strict',
      '--exactOptionalPropertyTypes',
      '--skipLibCheck',
    ];
    const target = ['--module', 'nodenext', '--target', 'es2023', '--lib', 'es2023,dom'];
    const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')];
    const compiled = await run(process.execPath, [...tsc, ...target, ...types, 'client.ts'], options).catch(
      ({ stdout }: { stdout: string }) => ({ stdout }),
    );
    expect(compiled.stdout).toBe('');
    const { stdout } = await run(process.execPath, ['client.js', suite.url, token], options);
    expect(stdout.trim().split('\n')).toEqual([
      'added client.example.com pool_2',
      'listed client.example.com 1',
      'exported true',
      'removed client.example.com',
      'again 404 domain_not_found',
    ]);
  });
});
