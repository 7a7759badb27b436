/** What a person opens in a browser, which cannot send a Bearer header there: Swagger UI and the document it shows. */
export function isDocsPath(path: string): boolean {
  return path === '/docs' || path.startsWith('/docs/') || path === '/openapi.json';
}
