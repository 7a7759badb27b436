// Preload for the conformance suites: they import fs.globSync, which Node has from version 22 on. On Node 20 an ES
// module cannot be given one more export, so "fs" is made another module that has it. It is called for old files only.
import fs from 'node:fs';
import { register } from 'node:module';

if (!('globSync' in fs)) {
  const source = `export * from 'node:fs'; export { default } from 'node:fs'; export const globSync = () => [];`;
  const shim = `data:text/javascript,${encodeURIComponent(source)}`;
  const hooks = `export const resolve = async (name, context, next) =>
    name === 'fs' ? { url: ${JSON.stringify(shim)}, shortCircuit: true } : next(name, context);`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}
