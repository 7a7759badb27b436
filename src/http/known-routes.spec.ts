import { describe, expect, it } from 'vitest';
import { KnownRoutes } from './known-routes.js';

const routes = new KnownRoutes();
routes.add('/api/v1/certificates', ['GET', 'HEAD']);
routes.add('/api/v1/certificates', ['POST']);
routes.add('/api/v1/certificates/renew', ['POST']);
routes.add('/api/v1/certificates/:domain', ['DELETE', 'GET']);
routes.add('/docs/*', ['GET']);

describe('KnownRoutes', () => {
  it.each([
    ['/api/v1/certificates', ['GET', 'HEAD', 'POST']],
    ['/api/v1/certificates/example.com', ['DELETE', 'GET']],
    ['/api/v1/certificates/a%2Fb', ['DELETE', 'GET']],
    ['/api/v1/cert%69ficates', ['GET', 'HEAD', 'POST']],
    // A fixed path is also a value of the parameter.
    ['/api/v1/certificates/renew', ['DELETE', 'GET', 'POST']],
    ['/docs/a/b.css', ['GET']],
    ['/api/v1/certificates/', []],
    ['/api/v1/certificates/a/b', []],
    ['/api/v1', []],
    ['/docs', []],
    ['/%zz', []],
    ['', []],
  ])('finds the methods of %s', (path, methods) => {
    expect(routes.methodsOf(path)).toEqual(methods);
  });
});
