/**
 * The layers of src/, lowest first. A file may import from its own layer and from the layers above it in this table.
 * `npm run check:layers` refuses every other import and every import cycle. Imports of types count.
 */
const LAYERS = [
  { folders: ['errors'], about: 'AppError with its codes, and the errors of the disk.' },
  { folders: ['lib'], about: 'Generic helpers that know nothing about HAProxy.' },
  { folders: ['signals'], about: 'Process-wide signals: the event feed, readiness, shutdown.' },
  { folders: ['model'], about: 'The desired state as pure data: names, addresses, pools, servers, routing.' },
  {
    folders: ['contract'],
    about: 'What an operation is: decorators, fields, pages, problems, dry runs, OpenAPI.',
  },
  { folders: ['settings'], about: 'The environment variables, parsed into one Settings object.' },
  {
    folders: ['haproxy'],
    about: 'The HAProxy process: Runtime API, parsers, configuration, certificate files.',
  },
  { folders: ['storage'], about: 'The files on disk and their formats.' },
  {
    folders: ['reconciler'],
    about: 'Plans and applies the difference between HAProxy and the desired state.',
  },
  { folders: ['persistence'], about: 'PersistenceService, the only writer of the desired state.' },
  { folders: ['sync'], about: 'Watches HAProxy: restores it after a restart, repairs drift, reloads it.' },
  { folders: ['http', 'access'], about: 'The HTTP server, and who may call it.' },
  { folders: ['audit'], about: 'Records who changed what.' },
  { folders: ['jobs'], about: 'Long work that outlives its request.' },
  // Features are ordered too, so that no two of them import each other.
  { folders: ['certificates'], about: 'Feature: TLS certificates, issued with acme.sh.' },
  { folders: ['servers'], about: 'Feature: the servers of a domain.' },
  { folders: ['domains'], about: 'Feature: domains and their pools.' },
  { folders: ['transfer'], about: 'Feature: import and export.' },
  {
    folders: ['migration'],
    about: 'Feature: converts the configuration of another HAProxy to records of an import.',
  },
  { folders: ['history'], about: 'Feature: what each revision changed, undo and rollback.' },
  { folders: ['configuration'], about: 'Feature: the HAProxy configuration, its check and its reload.' },
  { folders: ['monitoring'], about: 'Feature: statistics and metrics.' },
  { folders: ['health'], about: 'Feature: health of the suite, of HAProxy and of the servers.' },
  { folders: ['tokens'], about: 'Feature: tokens of callers.' },
  { folders: ['explain'], about: 'Feature: which rule, pool, servers and certificate answer a host.' },
  { folders: ['mcp'], about: 'The operations as MCP tools, resources and prompts.' },
  { folders: ['doctor'], about: 'What is wrong on this host: facts, and rules over them.' },
  { folders: ['cli'], about: 'The operations as commands.' },
  { folders: ['[^/]+\\.ts'], about: 'The application: main.ts, its modules, start and stop.' },
];

const foldersOf = (layers) => layers.flatMap(({ folders }) => folders);
const pathOf = (layers) => `^src/(?:${foldersOf(layers).join('|')})(?:/|$)`;

const upwardImports = LAYERS.slice(0, -1).map((layer, index) => ({
  name: `${layer.folders.join('-')}-imports-upward`,
  comment: `${layer.about} May import only: ${foldersOf(LAYERS.slice(0, index + 1)).join(', ')}.`,
  severity: 'error',
  // A spec may import from higher layers to set up what it tests.
  from: { path: pathOf([layer]), pathNot: '\\.spec\\.ts$' },
  to: { path: pathOf(LAYERS.slice(index + 1)) },
}));

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    ...upwardImports,
    {
      name: 'import-cycle',
      comment: 'These files import each other. Move what they share into a file of its own.',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true },
    },
    {
      name: 'folder-without-layer',
      comment: 'The folder is in no layer. Add it to LAYERS in .dependency-cruiser.mjs.',
      severity: 'error',
      from: {},
      to: { path: '^src/', pathNot: pathOf(LAYERS) },
    },
  ],
  options: {
    includeOnly: '^src/',
    // Count imports that TypeScript removes, such as `import type`.
    tsPreCompilationDeps: true,
  },
};
