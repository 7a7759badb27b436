import { fastify } from 'fastify';
import { describe, expect, it } from 'vitest';
import { installPreconditions } from './preconditions.hook.js';

/** Registers a route as `@Serves` does. */
function register(url: string, operation: { readOnly: boolean; conditional: boolean }): () => void {
  const app = fastify();
  installPreconditions(app);
  const config = { operation: { name: 'haproxy_new', ...operation } };
  return () => void app.route({ method: 'PUT', url, config, handler: () => ({}) });
}

describe('installPreconditions', () => {
  it('refuses a route that changes one domain without checking preconditions', () => {
    const unchecked = { readOnly: false, conditional: false };
    for (const url of ['/api/v1/domains/:domain', '/api/v1/domains/:domain/options'])
      expect(register(url, unchecked)).toThrow(
        `PUT ${url} changes a domain: declare haproxy_new as conditional.`,
      );
    expect(register('/api/v1/domains/:domain', { ...unchecked, conditional: true })).not.toThrow();
    expect(register('/api/v1/domains/:domain', { ...unchecked, readOnly: true })).not.toThrow();
    for (const url of ['/api/v1/domains', '/api/v1/certificates/:domain'])
      expect(register(url, unchecked)).not.toThrow();
  });
});
