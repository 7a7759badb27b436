import { isSamePath } from '../../lib/same-path.js';
import type { Settings } from '../../settings/settings.js';
import type { ConfigMessages } from './config-messages.js';
import { parseConfig } from './config-parser.js';
import { readTextIfPresent } from './operator-config.js';
import { pathRequirements } from './path-requirements.js';
import { currentStarter, processRequirements } from './process-requirements.js';

/**
 * Checks what `haproxy -c` does not check in haproxy.cfg: whether the control mode can run HAProxy with it, and whether
 * its paths let the suite work. Reads the file as it is now.
 *
 * @throws the error of the file system, unless the file is missing
 */
export async function checkStart({ files, control }: Settings): Promise<ConfigMessages> {
  const sections = parseConfig(await readTextIfPresent(files.config), files.config);
  const starter = control === 'managed' ? currentStarter() : undefined;
  const found = processRequirements(sections, { control, starter });
  found.errors.push(...pathRequirements(sections, (path) => isSamePath(path, files.map)));
  return found;
}
