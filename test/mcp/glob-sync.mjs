// Preload for the conformance suites. They import fs.globSync, which Node.js has since version 22, and call it only for
// old files. An export cannot be added to an existing ES module, so on Node.js 20 this hook replaces the module "fs".
import fs from 'node:fs';
import { register } from 'node:module';

if (!('globSync' in fs)) {
  const source = `export * from 'node:fs'; export { default } from 'node:fs'; export const globSync = () => [];`;
  const shim = `data:text/javascript,${encodeURIComponent(source)}`;
  const hooks = `export const resolve = async (name, context, next) =>
    name === 'fs' ? { url: ${JSON.stringify(shim)}, shortCircuit: true } : next(name, context);`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}
