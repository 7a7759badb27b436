import type { ConfigMessage } from '../config-messages.js';

/**
 * Something in the configuration that the suite cannot work with, although HAProxy accepts it.
 *
 * - `prevents_start`: HAProxy would run, and the suite could not control it or route to its pools
 * - `error`: a check and a reload fail, a start only warns
 * - `warning`: everything works
 */
export interface Finding extends ConfigMessage {
  level: 'prevents_start' | 'error' | 'warning';
}
