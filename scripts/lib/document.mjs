import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { ROOT } from './project.mjs';
import { ToolError } from './process.mjs';

/** A compiled file of build/. */
export const compiled = (file) => import(pathToFileURL(join(ROOT, 'build', file)).href);

/**
 * The OpenAPI document of the compiled code in build/. Creates the application without starting it, so HAProxy is not
 * needed.
 */
export async function compiledDocument() {
  const [{ createApp }, { openApiDocument }, { VERSION }, { loadSettings }] = await Promise.all(
    ['app.js', 'contract/openapi.js', 'lib/version.js', 'settings/settings.js'].map(compiled),
  ).catch((error) => {
    throw new ToolError(
      `The compiled code in build/ does not load (${error.message}). Run "npm run build" first.`,
    );
  });
  // The settings of the environment must not change the document.
  const app = await createApp(loadSettings({}), { logger: false });
  const document = openApiDocument(app, VERSION);
  await app.close();
  return document;
}
