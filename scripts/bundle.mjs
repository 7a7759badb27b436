#!/usr/bin/env node
// The last step of `npm run build`: bundles dist/main.js with its packages into a few files in dist/bundle. Without the
// bundle a start reads about a thousand files, which takes most of its time. The output of `nest build` stays in dist/.
// Writes dist/operations.json, from which the command line knows the operations without loading NestJS.
import { writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { compiled, compiledDocument } from './lib/document.mjs';
import { main, ToolError } from './lib/process.mjs';
import { ROOT } from './lib/project.mjs';

const DIST = join(ROOT, 'dist');
const modules = (path) => join(ROOT, 'node_modules', path);

/** Optional peer dependencies of NestJS that the suite does not use. NestJS tries to load them and continues without. */
const ABSENT = [
  /^@nestjs\/(microservices|websockets|platform-express)(\/|$)/,
  /^@fastify\/(multipart|view)$/,
  'class-transformer/storage',
];
/** The schema compilers of Fastify. src/app.ts sets others, so Fastify never loads these. */
const UNUSED = [/^@fastify\/(ajv|fast-json-stringify)-compiler$/];
/** The ES module builds of these packages. Rolldown removes the unused code of ES modules. */
const alias = {
  'class-validator': modules('class-validator/esm2015/index.js'),
  'jsonc-parser': modules('jsonc-parser/lib/esm/main.js'),
  rxjs: modules('rxjs/dist/esm/index.js'),
  'rxjs/operators': modules('rxjs/dist/esm/operators/index.js'),
};

/** Only pipes and interceptors of NestJS that the suite does not use load these packages dynamically. */
const unusedPipes = {
  name: 'unused-pipes',
  resolveId: {
    filter: { id: /^class-(validator|transformer)$/ },
    handler: (id, _importer, { kind }) => (kind === 'dynamic-import' ? { id, external: true } : undefined),
  },
};

const OWN_REQUIRE = 'const require = createRequire(import.meta.url);';
/** mapped-types loads these packages with its own `require`, which would load a second copy from node_modules. */
const mappedTypes = {
  name: 'mapped-types',
  transform: {
    filter: { id: /@nestjs[\\/]mapped-types[\\/]dist[\\/]type-helpers\.utils\.js$/ },
    handler(code) {
      if (!code.includes(OWN_REQUIRE))
        throw new ToolError(
          '@nestjs/mapped-types no longer creates its `require` as expected. Change mappedTypes in scripts/bundle.mjs.',
        );
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
  // keepNames: NestJS, the OpenAPI document and the log show the names of classes.
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
  if (foreign.length > 0)
    throw new ToolError(`The bundle imports packages that it does not contain: ${foreign.join(', ')}`);
  await writeFile(join(DIST, 'main.js'), "#!/usr/bin/env node\nimport './bundle/main.js';\n");
  const { operationsOf } = await compiled('cli/operations/from-document.js');
  const operations = operationsOf(await compiledDocument());
  await writeFile(join(DIST, 'operations.json'), JSON.stringify(operations));
});
