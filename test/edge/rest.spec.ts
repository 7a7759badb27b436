import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN, READER, type Running, startFixture, withTokens } from './fixture.js';

let suite: Running;
beforeAll(async () => {
  suite = await startFixture(withTokens);
});
afterAll(() => suite.stop());

async function send(method: string, path: string, body?: string, headers: Record<string, string> = {}) {
  const response = await fetch(suite.url + path, {
    method,
    headers: {
      authorization: `Bearer ${ADMIN}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body }),
  });
  const text = await response.text();
  const type = response.headers.get('content-type') ?? '';
  const json = (type.includes('json') ? JSON.parse(text) : {}) as Record<string, unknown>;
  return { status: response.status, type, text, json, headers: response.headers };
}

describe('REST', () => {
  it('joins path and body into one argument, with defaults and canonical names', async () => {
    const answer = await send(
      'POST',
      '/api/v1/things/B%C3%BCcher.Example.',
      '{"parts":[{"ip":"2001:DB8:0::1"}]}',
    );
    expect(answer.status).toBe(201);
    expect(answer.json).toEqual({
      domain: 'xn--bcher-kva.example',
      parts: [{ ip: '2001:db8::1', http_port: 80 }],
      state: 'ready',
      actor: 'admin',
      via: 'rest',
    });
  });

  it.each([undefined, ''])('treats a missing body (%j) as an empty one', async (body) => {
    const name = body === undefined ? 'none' : 'empty';
    await expect(send('POST', `/api/v1/things/${name}.example`, body)).resolves.toMatchObject({
      status: 201,
    });
  });

  it('reads query parameters as their types', async () => {
    await expect(send('GET', '/api/v1/things?limit=5&all=true')).resolves.toMatchObject({
      json: { limit: 5 },
    });
  });

  it.each([
    ['GET', '/api/v1/things?limit=x', undefined, 422, 'validation_failed'],
    ['GET', '/api/v1/things?limit=1&limit=2', undefined, 422, 'validation_failed'],
    ['GET', '/api/v1/things?__proto__=1', undefined, 422, 'validation_failed'],
    ['GET', '/api/v1/things?hasOwnProperty=1', undefined, 422, 'validation_failed'],
    ['POST', '/api/v1/things/a;b', '{}', 422, 'validation_failed'],
    ['POST', `/api/v1/things/${'a'.repeat(10_000)}`, '{}', 422, 'validation_failed'],
    ['POST', '/api/v1/things/a.example', 'null', 422, 'validation_failed'],
    ['POST', '/api/v1/things/a.example', '[]', 422, 'validation_failed'],
    ['POST', '/api/v1/things/a.example', '"x"', 422, 'validation_failed'],
    ['POST', '/api/v1/things/a.example', '{"domain":"b.example"}', 422, 'validation_failed'],
    ['POST', '/api/v1/things/a.example', '{"parts":"[]"}', 422, 'validation_failed'],
    // The deepest nesting that a body of this size can have.
    [
      'POST',
      '/api/v1/things/a.example',
      `{"parts":${'['.repeat(500_000)}${']'.repeat(500_000)}}`,
      422,
      'validation_failed',
    ],
    ['POST', '/api/v1/things/a.example', '{bad', 400, 'malformed_request'],
    ['POST', '/api/v1/things/a.example', '{"__proto__":{}}', 422, 'validation_failed'],
    [
      'POST',
      '/api/v1/things/a.example',
      JSON.stringify({ state: 'x'.repeat(1024 * 1024) }),
      413,
      'payload_too_large',
    ],
    ['GET', '/%zz', undefined, 400, 'malformed_request'],
    ['GET', '/api/v1/nothing', undefined, 404, 'not_found'],
    ['PATCH', '/api/v1/things', '{}', 405, 'method_not_allowed'],
    ['POST', '/healthz', '{}', 405, 'method_not_allowed'],
    ['GET', '/.well-known/oauth-protected-resource', undefined, 404, 'not_found'],
  ])('answers %s %.60s with body %.40s: %i', async (method, path, body, status, code) => {
    const answer = await send(method, path, body);
    expect(answer).toMatchObject({ status, json: { status, code, type: `urn:haproxy-suite:error:${code}` } });
    expect(answer.type).toMatch(/^application\/problem\+json/);
  });

  it('names the methods of a path in Allow', async () => {
    const { headers, json } = await send('PATCH', '/api/v1/things');
    expect(headers.get('allow')).toBe('DELETE, GET, HEAD');
    expect(json['detail']).toBe('/api/v1/things has no PATCH. It has DELETE, GET, HEAD.');
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'refuses %s',
    async (type) => {
      const answer = await send('POST', '/api/v1/things/a.example', '{}', { 'content-type': type });
      expect(answer).toMatchObject({ status: 415, json: { code: 'unsupported_media_type' } });
    },
  );

  it('answers an unexpected error with an id and without its message', async () => {
    const answer = await send('GET', '/api/v1/things/broken');
    expect(answer).toMatchObject({ status: 500, json: { code: 'internal_error' } });
    expect(answer.text).not.toContain('secret');
  });

  it('refuses the read-only token on routes that change something', async () => {
    const reader = { authorization: `Bearer ${READER}` };
    await expect(send('GET', '/api/v1/things', undefined, reader)).resolves.toMatchObject({ status: 200 });
    const routes = [
      ['POST', '/api/v1/things/r.example'],
      ['DELETE', '/api/v1/things'],
      ['POST', '/api/v1/things/unlinked'],
    ] as const;
    for (const [method, path] of routes)
      await expect(send(method, path, undefined, reader)).resolves.toMatchObject({
        status: 403,
        json: { code: 'forbidden' },
      });
  });

  it('documents a route with the texts, schemas and errors of its service method', async () => {
    const { json } = await send('GET', '/openapi.json');
    expect(json).toMatchObject({ openapi: '3.1.0', servers: [{ url: '/' }] });
    expect(json).toHaveProperty(['paths', '/api/v1/things/{domain}', 'post'], {
      operationId: 'add_thing',
      summary: 'Add a thing',
      description: 'Adds a thing.',
      tags: ['things'],
      security: [{ bearer: [] }],
      parameters: expect.any(Array) as unknown,
      requestBody: expect.any(Object) as unknown,
      responses: expect.objectContaining({
        201: expect.any(Object) as unknown,
        409: expect.any(Object) as unknown,
      }) as unknown,
      'x-cli': { command: 'things add', tool: 'haproxy_add_thing' },
    });
    expect(json).toHaveProperty(['components', 'schemas', 'Problem', 'properties', 'code']);
    expect(json).not.toHaveProperty(['components', 'schemas', 'ToolError']);
  });

  it('serves the docs with a content security policy', async () => {
    const docs = await send('GET', '/docs');
    expect(docs.status).toBe(200);
    expect(docs.headers.get('content-security-policy')).toContain("script-src 'self'");
    expect(docs.text).not.toMatch(/<script(?![^>]*src=)/);
    const answer = await send('GET', '/api/v1/things');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  });
});
