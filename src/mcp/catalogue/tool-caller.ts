import { Injectable, Logger } from '@nestjs/common';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { requireAccess } from '../../access/access-rule.js';
import { AuditRecorder } from '../../audit/audit-recorder.js';
import { AppError } from '../../errors/app-error.js';
import type { DeclaredOperation } from '../../contract/operation.js';
import { internalError } from '../../contract/problems/problem.filter.js';
import { recordedArguments } from '../../contract/recorded-arguments.js';
import type { Caller } from './catalogue.js';
import { INVALID_PARAMS, isRpcError, rpcError } from '../rpc-error.js';
import { ToolRegistry } from './tool-registry.js';

/** Runs a tool: errors become results that say what to do next. */
@Injectable()
export class ToolCaller {
  private readonly logger = new Logger('mcp');

  constructor(
    private readonly registry: ToolRegistry,
    private readonly changes: AuditRecorder,
  ) {}

  /** @throws Error with the JSON-RPC code -32602 where there is no such tool. */
  async call(name: string, given: unknown, caller: Caller): Promise<CallToolResult> {
    const tool = this.registry.find(name);
    if (!tool)
      throw rpcError(
        INVALID_PARAMS,
        `There is no tool ${name.slice(0, 100)}; tools/list shows those there are.`,
      );
    try {
      requireAccess(caller.principal, tool.readOnly);
      return await tool.call(given, caller);
    } catch (error) {
      // What carries a JSON-RPC code was meant for the protocol, not for the model.
      if (!(error instanceof AppError) && isRpcError(error)) throw error;
      if (tool.operation) await this.recordRefusal(tool.operation, given, caller, error);
      const known = error instanceof AppError ? error : this.unexpected(name, error);
      caller.log(known.status < 500 ? 'warning' : 'error', `${name}: ${known.code}: ${known.detail}`);
      return failure(known);
    }
  }

  /** Where the error is not the service's own, which has its line in the audit log already. */
  private async recordRefusal(
    { name, input, readOnly }: DeclaredOperation,
    given: unknown,
    { principal: { actor } }: Caller,
    error: unknown,
  ): Promise<void> {
    if (!readOnly)
      await this.changes.recordRefusal(name, recordedArguments(input, given), { actor, via: 'mcp' }, error);
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
