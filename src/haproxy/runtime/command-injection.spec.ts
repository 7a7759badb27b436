import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaled } from '../../../test/chaos/scale.js';
import { AppError } from '../../errors/app-error.js';
import { InputPipe } from '../../contract/input/input.pipe.js';
import { AddDomainDto } from '../../domains/domains.dto.js';
import { addDomain, checkAddDomain } from '../../domains/domain-rules.js';
import { Draft } from '../../model/draft.js';
import { State } from '../../model/state.js';
import { plan } from '../../reconciler/plan.js';
import { RoutingView } from '../../reconciler/routing-view.js';
import { AddServersDto, SetServerStateDto, SetServerWeightDto } from '../../servers/servers.dto.js';
import { addServers, changeServer } from '../../servers/server-rules.js';
import { commandBatches } from './step-commands.js';

const NAME = String.raw`\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*`;
const SERVER = String.raw`pool_\d+/pool_\d+_\d+`;
/** All commands that may result from adding and changing domains and servers. Any other command is an injection. */
const EXPECTED = [
  new RegExp(`^add map /opt/haproxy/conf/domains\\.map ${NAME} pool_\\d+\\n$`),
  new RegExp(
    `^add server ${SERVER} (\\d+\\.\\d+\\.\\d+\\.\\d+|\\[[0-9a-f:.]+\\]):\\d+ weight \\d+ check inter 2s fall 3 rise 2\\n$`,
  ),
  new RegExp(`^enable health ${SERVER}\\n$`),
  new RegExp(`^set server ${SERVER} state (ready|drain|maint)\\n$`),
  new RegExp(`^set server ${SERVER} weight \\d+\\n$`),
];

/** Special characters of the CLI and valid words. Inputs combine them to inject a second word or command. */
const piece = fc.oneof(
  fc.constantFrom(
    ';',
    '\n',
    '\r',
    '\\',
    '"',
    "'",
    '\0',
    '<<',
    ' ',
    '\t',
    '#',
    '@',
    '/',
    '.',
    '*.',
    '%0a',
    '\u2028',
    '；',
  ),
  fc.constantFrom('show info', 'shutdown', 'example', 'com', '10.0.0.1', '::1', 'xn--', 'ß', 'a'),
  fc.string({ unit: 'binary', maxLength: 8 }),
);
const hostile = fc.oneof(
  fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
  fc.tuple(fc.domain(), piece, fc.domain()).map((pieces) => pieces.join('')),
  fc.domain(),
  fc.ipV4(),
  fc.ipV6(),
  fc.string({ maxLength: 300 }),
);
const field = fc.oneof(
  { weight: 8, arbitrary: hostile },
  { weight: 1, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.jsonValue() },
);

const pipe = new InputPipe();

/** The commands that a request sends to HAProxy; undefined if its input is rejected. */
async function commandsFor(
  createDraft: () => Promise<Draft>,
  before: State = new State(0),
): Promise<string[] | undefined> {
  try {
    const draft = await createDraft();
    const { from, to } = new RoutingView(
      { ...before.routing(), domains: new Map(before.routing().domains) },
      before.routing(),
    ).sidesOf(draft);
    const batches = [...commandBatches(plan(from, to), '/opt/haproxy/conf/domains.map')];
    return batches.flatMap(({ commands }) => [...commands].map(({ command }) => command.text));
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    return undefined;
  }
}

const expectNoInjection = (commands: string[] | undefined) => {
  for (const command of commands ?? [])
    expect(
      EXPECTED.some((pattern) => pattern.test(command)),
      JSON.stringify(command),
    ).toBe(true);
};

/** `npm run chaos` tries more. */
const RUNS = scaled(20_000, 1_000);

describe(`Commands from ${RUNS} hostile inputs`, () => {
  it('have no injection through a domain', async () => {
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(field, field, field, async (domain, ip, share_with) => {
        const commands = await commandsFor(async () => {
          const input = await pipe.read(AddDomainDto, { domain, ip, share_with }, 'json');
          checkAddDomain(input);
          const draft = new Draft(new State(0));
          addDomain(draft, input, { pools: { count: 100, dynamic: false }, slots: 10, now: 0 });
          return draft;
        });
        if (commands) accepted += 1;
        expectNoInjection(commands);
      }),
      { numRuns: RUNS },
    );
    expect(accepted).toBeGreaterThan(0);
  });

  it('have no injection through servers', async () => {
    const state = new State(0, [['pool_1', { domains: ['a.example'], servers: new Map() }]]);
    const server = fc.record(
      { slot: fc.oneof(fc.constant(0), fc.jsonValue()), ip: fc.oneof(fc.ipV4(), fc.ipV6(), field) },
      { requiredKeys: ['ip'] },
    );
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.array(server, { maxLength: 3 }), hostile),
        fc.oneof(fc.constant('a.example'), field),
        async (servers, domain) => {
          const commands = await commandsFor(async () => {
            const input = await pipe.read(AddServersDto, { domain, servers }, 'tool');
            const draft = new Draft(state);
            addServers(draft, input.domain, input.servers, 10);
            return draft;
          });
          if (commands) accepted += 1;
          expectNoInjection(commands);
        },
      ),
      { numRuns: RUNS },
    );
    expect(accepted).toBeGreaterThan(0);
  });

  it('have no injection through a state or a weight', async () => {
    const server = { ip: '10.0.0.1', http_port: 80, weight: 1, state: 'ready' as const };
    const state = new State(0, [['pool_1', { domains: ['a.example'], servers: new Map([[1, server]]) }]]);
    const domains = fc.oneof({ weight: 3, arbitrary: fc.constant('a.example') }, field);
    const slots = fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, field);
    const states = fc.oneof(fc.constantFrom('ready', 'drain', 'maint'), field);
    const weights = fc.oneof(fc.integer({ min: -1, max: 257 }), field);
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(domains, slots, states, weights, async (domain, slot, wanted, weight) => {
        for (const change of [
          () => pipe.read(SetServerStateDto, { domain, slot, state: wanted }, 'tool'),
          () => pipe.read(SetServerWeightDto, { domain, slot, weight }, 'tool'),
        ]) {
          const commands = await commandsFor(async () => {
            const { domain: of, slot: at, ...changed } = await change();
            const draft = new Draft(state);
            changeServer(draft, of, at, changed);
            return draft;
          }, state);
          if (commands) accepted += 1;
          expectNoInjection(commands);
        }
      }),
      { numRuns: RUNS },
    );
    expect(accepted).toBeGreaterThan(0);
  });
});
