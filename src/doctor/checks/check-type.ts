import type { Check } from '../finding.js';
import type { Host } from '../host.js';

export type HostCheck = Check<Host>;
