import { describe, expect, it } from 'vitest';
import { commandOf } from './command-name.js';

describe('commandOf', () => {
  it.each([
    ['haproxy_add_domain', 'domains add'],
    ['haproxy_list_servers', 'servers list'],
    ['haproxy_set_server_weight', 'servers set-weight'],
    ['haproxy_health', 'health'],
  ])('%s is the command %s', (operation, command) => {
    expect(commandOf(operation)).toBe(command);
  });
});
