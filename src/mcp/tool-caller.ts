import { Injectable, Logger } from '@nestjs/common';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { requireRight } from '../access/access.guard.js';
import type { Principal } from '../access/principal.js';
import { ChangeRecorder } from '../audit/change-recorder.js';
import { type CallContext, runWithCallContext } from '../common/call-context.js';
import { AppError } from '../common/errors.js';
import { InputPipe } from '../common/input.pipe.js';
import type { Operation } from '../common/operation.js';
import { internalError } from '../common/problem.filter.js';
import { recordedArguments } from '../common/recorded-arguments.js';
import { type RegisteredTool, ToolRegistry } from './tool-registry.js';

export interface Caller {
  principal: Principal;
  signal: AbortSignal;
  progress: CallContext['progress'];
}

/** Runs a tool: arguments through the same pipe as REST bodies, errors as results that say what to do next. */
@Injectable()
export class ToolCaller {
  private readonly logger = new Logger('mcp');
  private readonly pipe = new InputPipe();

  constructor(
    private readonly registry: ToolRegistry,
    private readonly changes: ChangeRecorder,
  ) {}

  /** @throws Error with the JSON-RPC code -32602 where there is no such tool. */
  async call(name: string, given: unknown, caller: Caller): Promise<CallToolResult> {
    const tool = this.registry.find(name);
    if (!tool) throw Object.assign(new Error(`There is no tool ${name.slice(0, 100)}`), { code: -32602 });
    try {
      requireRight(caller.principal, tool.operation.readOnly);
      const result = await this.run(tool, given, caller);
      return { content: [{ type: 'text', text: JSON.stringify(result) }], structuredContent: result };
    } catch (error) {
      await this.recordRefusal(tool.operation, given, caller, error);
      return failure(error instanceof AppError ? error : this.unexpected(name, error));
    }
  }

  private async run(tool: RegisteredTool, given: unknown, caller: Caller): Promise<Record<string, unknown>> {
    const { input } = tool.operation;
    if (!input) this.pipe.readNothing(given);
    const read = input && ((await this.pipe.read(input, given, 'tool')) as object);
    const { signal, progress, principal } = caller;
    const context: CallContext = { actor: principal.actor, via: 'mcp', signal, progress };
    const result = await runWithCallContext(context, () => tool.call(read));
    if (typeof result !== 'object' || result === null || Array.isArray(result))
      throw new TypeError(`${tool.operation.name} did not return an object.`);
    // Once through JSON, as a REST answer goes: what is not there is not there, and nothing of a class is left.
    return JSON.parse(JSON.stringify(result)) as Record<string, unknown>;
  }

  /** Where the error is not the service's own, which has its line in the audit log already. */
  private async recordRefusal(
    { name, input, readOnly }: Operation,
    given: unknown,
    { principal: { actor } }: Caller,
    error: unknown,
  ): Promise<void> {
    if (!readOnly)
      await this.changes.refused(name, recordedArguments(input, given), { actor, via: 'mcp' }, error);
  }

  private unexpected(name: string, cause: unknown): AppError {
    const error = internalError(cause);
    this.logger.error(`${name}: ${error.detail}`, cause instanceof Error ? cause.stack : String(cause));
    return error;
  }
}

function failure(error: AppError): CallToolResult {
  const { code, detail, errors, existing } = error.toProblem();
  const lines = (errors ?? []).map(({ field, message }) => `- ${field} ${message}`);
  const shown = existing ? [`Existing: ${JSON.stringify(existing)}`] : [];
  const structuredContent = { code, detail, ...(errors && { errors }), ...(existing && { existing }) };
  return {
    isError: true,
    content: [{ type: 'text', text: [`${code}: ${detail}`, ...lines, ...shown].join('\n') }],
    structuredContent,
  };
}
