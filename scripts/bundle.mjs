#!/usr/bin/env node
// The last step of `npm run build`: bundles build/main.js, the output of `nest build`, with its packages into dist/. A
// start from dist/ reads a few files instead of a thousand, and dist/ runs without node_modules. It is what users get.
// Writes dist/operations.json, from which the command line knows the operations without loading NestJS.
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { compiled, compiledDocument } from './lib/document.mjs';
import { entryText } from './lib/entry.mjs';
import { licenceText, packagesOf } from './lib/licences.mjs';
import { main, ToolError } from './lib/process.mjs';
import { ROOT } from './lib/project.mjs';

const DIST = join(ROOT, 'dist');
const BUILD = join(ROOT, 'build');
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

/** The files of Swagger UI that the page /docs loads. */
const SWAGGER_UI = [
  'favicon-16x16.png',
  'favicon-32x32.png',
  'swagger-ui-bundle.js',
  'swagger-ui-standalone-preset.js',
  'swagger-ui.css',
];

const PIPE_PACKAGES = /^class-(validator|transformer)$/;
/** Only pipes and interceptors of NestJS that the suite does not use load these packages dynamically. */
const unusedPipes = {
  name: 'unused-pipes',
  resolveId: {
    filter: { id: PIPE_PACKAGES },
    handler: (id, _importer, { kind }) => (kind === 'dynamic-import' ? { id, external: true } : undefined),
  },
};

/** A plugin that replaces one piece of code in a file. The build fails if the file no longer has that code. */
function replacing(name, id, code, replacement) {
  return {
    name,
    transform: {
      filter: { id },
      handler(text) {
        if (!text.includes(code))
          throw new ToolError(`${name}: the file no longer contains \`${code}\`. Change scripts/bundle.mjs.`);
        return text.replace(code, () => replacement);
      },
    },
  };
}

/** mapped-types loads these packages with its own `require`, which would load a second copy from node_modules. */
const mappedTypes = replacing(
  '@nestjs/mapped-types',
  /@nestjs[\\/]mapped-types[\\/]dist[\\/]type-helpers\.utils\.js$/,
  'const require = createRequire(import.meta.url);',
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

/**
 * The decorators of NestJS need reflect-metadata, which is CommonJS. Rolldown runs an imported CommonJS module only after all
 * ES modules that are imported before its importer. As an ES module, it runs in the order of the imports.
 */
const reflectMetadata = {
  name: 'reflect-metadata',
  transform: {
    filter: { id: /[\\/]reflect-metadata[\\/]Reflect\.js$/ },
    handler: (code) => ({ code: `${code}\nexport {};\n`, moduleSideEffects: true }),
  },
};

/** NestJS asks the package swagger-ui-dist for its folder. The files are in dist/swagger-ui. */
const swaggerUi = replacing(
  '@nestjs/swagger',
  /@nestjs[\\/]swagger[\\/]dist[\\/]swagger-ui[\\/]swagger-ui\.js$/,
  "require('swagger-ui-dist/absolute-path.js')()",
  "decodeURIComponent(new URL('../swagger-ui', import.meta.url).pathname)",
);

/** The bundle has no package.json beside it. */
const ownPackage = ({ version, engines }) =>
  replacing(
    'src/lib/version.ts',
    /[\\/]build[\\/]lib[\\/]version\.js$/,
    'readPackage();',
    `${JSON.stringify({ version, engines })};`,
  );

/**
 * The modules that every start loads. In one file: Node reads each file in several steps. Without main.js itself, which
 * waits for its command (top-level await): what a command loads later imports from this file, and would wait for its end.
 */
const startModules = new Set();
const findStartModules = {
  name: 'start-modules',
  buildEnd() {
    const importsOf = (id) => this.getModuleInfo(id)?.importedIds ?? [];
    const open = [...importsOf(join(BUILD, 'main.js'))];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (startModules.has(id)) continue;
      startModules.add(id);
      open.push(...importsOf(id));
    }
  },
};

/** Whether the suite works without this package. */
function isAbsent(name) {
  return [...ABSENT, ...UNUSED, PIPE_PACKAGES].some((known) =>
    known instanceof RegExp ? known.test(name) : known === name,
  );
}

/** @throws {ToolError} if the bundle would load a package at run time */
function checkComplete(chunks) {
  const isAllowed = (name) =>
    name.startsWith('node:') ||
    builtinModules.includes(name) ||
    chunks.some(({ fileName }) => fileName === name);
  const loaded = chunks.flatMap(({ imports, dynamicImports, code }) => [
    ...imports.filter((name) => !isAllowed(name)),
    ...[...dynamicImports, ...required(code)].filter((name) => !isAllowed(name) && !isAbsent(name)),
  ]);
  if (loaded.length > 0)
    throw new ToolError(
      `The bundle loads packages that it does not contain: ${[...new Set(loaded)].join(', ')}`,
    );
}

/** The names in calls of `__require`, which is of the bundler, and of functions that createRequire() returned. */
function required(code) {
  const made = [...code.matchAll(/\b(\S+) = createRequire\(import\.meta\.url\)/g)].map(([, name]) => name);
  return ['__require', ...made].flatMap((name) => {
    const call = new RegExp(
      `(?<![\\w$])${name.replaceAll('$', '\\$')}(?:\\.resolve)?\\((["'\`])([^"'\`]+)\\1\\)`,
      'g',
    );
    return [...code.matchAll(call)].map(([, , loaded]) => loaded);
  });
}

await main(async () => {
  const { version, engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const bundle = await rolldown({
    input: { main: join(BUILD, 'main.js') },
    platform: 'node',
    external: [...ABSENT, ...UNUSED],
    resolve: { alias },
    plugins: [
      unusedPipes,
      reflectMetadata,
      mappedTypes,
      swaggerUi,
      ownPackage({ version, engines }),
      findStartModules,
    ],
    onLog: (level, log) => {
      if (log.code === 'UNRESOLVED_IMPORT') throw new ToolError(log.message);
    },
  });
  // keepNames: NestJS, the OpenAPI document and the log show the names of classes.
  // .mjs: without a package.json, Node takes .js for CommonJS.
  const { output } = await bundle.generate({
    format: 'esm',
    keepNames: true,
    codeSplitting: { groups: [{ name: 'start', test: (id) => startModules.has(id) }] },
    comments: { legal: true, annotation: false, jsdoc: false },
    entryFileNames: '[name].mjs',
    chunkFileNames: '[name]-[hash].mjs',
  });
  const chunks = output.filter(({ type }) => type === 'chunk');
  checkComplete(chunks);
  const files = [...chunks.flatMap(({ moduleIds }) => moduleIds), modules('swagger-ui-dist/index.js')];
  const licences = await licenceText(await packagesOf(files));

  await rm(DIST, { recursive: true, force: true });
  await mkdir(join(DIST, 'bundle'), { recursive: true });
  for (const { fileName, code } of chunks) await writeFile(join(DIST, 'bundle', fileName), code);
  await mkdir(join(DIST, 'swagger-ui'));
  for (const file of SWAGGER_UI)
    await copyFile(modules(`swagger-ui-dist/${file}`), join(DIST, 'swagger-ui', file));
  await writeFile(join(DIST, 'LICENSES.txt'), licences);
  await writeFile(join(DIST, 'main.js'), entryText(engines.node));
  await chmod(join(DIST, 'main.js'), 0o755);
  const { operationsOf } = await compiled('cli/operations/from-document.js');
  await writeFile(join(DIST, 'operations.json'), JSON.stringify(operationsOf(await compiledDocument())));
});
