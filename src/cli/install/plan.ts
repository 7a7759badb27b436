import type { Step } from './steps.js';

/** What a command will do. With `refusals` it does nothing. */
export interface Plan {
  /** Each says what is wrong and what to do. */
  refusals: readonly string[];
  steps: readonly Step[];
  /** What the operator should know, whether there are steps or not. */
  notes: readonly string[];
}

export interface Request {
  command: 'install' | 'upgrade';
  /** Replace the haproxy.service of Debian even though its haproxy.cfg was changed. */
  takeOver: boolean;
  /** The ports that HAProxy and the suite need, and where the suite says whether it is ready. */
  ports: readonly { transport: 'tcp' | 'udp'; port: number }[];
  readyUrl: string;
}
