import type { Type } from '@nestjs/common';
import { type CallContext, runWithCallContext } from '../../contract/call-context.js';
import { type InputSource, InputPipe } from '../../contract/input/input.pipe.js';
import type { Caller } from './catalogue.js';

const pipe = new InputPipe();

export interface Declared {
  input: Type | undefined;
  call: (...given: unknown[]) => Promise<unknown>;
}

/** Runs a declared service method as a REST route would: input through the same pipe, in the caller's name. */
export async function runDeclared(
  { input, call }: Declared,
  given: unknown,
  source: InputSource,
  caller: Caller,
): Promise<unknown> {
  if (!input) pipe.readNothing(given);
  const read = input && (await pipe.read(input as Type<object>, given, source));
  const { signal, progress, log, principal } = caller;
  const context: CallContext = { actor: principal.actor, via: 'mcp', signal: () => signal, progress, log };
  return runWithCallContext(context, () => call(...(read ? [read] : [])));
}
