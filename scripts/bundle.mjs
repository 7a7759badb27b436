#!/usr/bin/env node
// The last step of `npm run build`: puts what `node dist/main.js` loads, packages included, into a few files in
// dist/bundle, because reading a thousand is most of what a start costs. What `nest build` made stays beside it.
import { writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { main, ToolError } from './lib/process.mjs';
import { ROOT } from './lib/project.mjs';

const DIST = join(ROOT, 'dist');
const modules = (path) => join(ROOT, 'node_modules', path);

/** Optional peers of NestJS that the suite has no use for; NestJS asks for them and does without. */
const ABSENT = [
  /^@nestjs\/(microservices|websockets|platform-express)(\/|$)/,
  /^@fastify\/(multipart|view)$/,
  'class-transformer/storage',
];
/** Fastify's compilers for schemas, which src/app.ts sees to that it does not ask for. */
const UNUSED = [/^@fastify\/(ajv|fast-json-stringify)-compiler$/];
/** The builds of these packages that say what of them is used, so that the rest is left out. */
const alias = {
  'class-validator': modules('class-validator/esm2015/index.js'),
  'jsonc-parser': modules('jsonc-parser/lib/esm/main.js'),
  rxjs: modules('rxjs/dist/esm/index.js'),
  'rxjs/operators': modules('rxjs/dist/esm/operators/index.js'),
};

/** NestJS's own pipes and interceptors for these packages are not used, and would keep all of them in the bundle. */
const unusedPipes = {
  name: 'unused-pipes',
  resolveId: {
    filter: { id: /^class-(validator|transformer)$/ },
    handler: (id, _importer, { kind }) => (kind === 'dynamic-import' ? { id, external: true } : undefined),
  },
};

const OWN_REQUIRE = 'const require = createRequire(import.meta.url);';
/** It requires these by a function of its own, which would load them a second time, from node_modules. */
const mappedTypes = {
  name: 'mapped-types',
  transform: {
    filter: { id: /@nestjs[\\/]mapped-types[\\/]dist[\\/]type-helpers\.utils\.js$/ },
    handler(code) {
      if (!code.includes(OWN_REQUIRE))
        throw new ToolError('@nestjs/mapped-types requires in another way now.');
      return code.replace(
        OWN_REQUIRE,
        `import { getMetadataStorage, IsOptional, ValidateIf } from 'class-validator';
import * as transformer from 'class-transformer';
import * as storage from 'class-transformer/cjs/storage.js';
const bundled = {
  'class-validator': { getMetadataStorage, IsOptional, ValidateIf },
  'class-transformer': transformer,
  'class-transformer/cjs/storage': storage,
};
const require = (name) => bundled[name];`,
      );
    },
  },
};

await main(async () => {
  const bundle = await rolldown({
    input: { main: join(DIST, 'main.js') },
    platform: 'node',
    external: [...ABSENT, ...UNUSED],
    resolve: { alias },
    plugins: [unusedPipes, mappedTypes],
    onLog: (level, log) => {
      if (log.code === 'UNRESOLVED_IMPORT') throw new ToolError(log.message);
    },
  });
  // Classes keep their names: NestJS, the OpenAPI document and the log show them.
  const { output } = await bundle.write({
    dir: join(DIST, 'bundle'),
    format: 'esm',
    keepNames: true,
    comments: { legal: true, annotation: false, jsdoc: false },
    entryFileNames: '[name].js',
  });
  const foreign = output
    .flatMap((file) => (file.type === 'chunk' ? file.imports : []))
    .filter((name) => !name.startsWith('node:') && !builtinModules.includes(name))
    .filter((name) => !output.some(({ fileName }) => fileName === name));
  if (foreign.length > 0) throw new ToolError(`These are not in the bundle: ${foreign.join(', ')}`);
  await writeFile(join(DIST, 'main.js'), "#!/usr/bin/env node\nimport './bundle/main.js';\n");
});
