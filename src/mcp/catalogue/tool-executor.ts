import { Injectable, Logger } from '@nestjs/common';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { requireForScope, requireOperation, requireRole } from '../../access/access-rule.js';
import { AuditRecorder } from '../../audit/audit-recorder.js';
import { AppError, type Problem } from '../../errors/app-error.js';
import { notInDetail } from '../../errors/invalid-fields.js';
import { namingTools } from '../../errors/operation-names.js';
import type { DeclaredOperation } from '../../contract/operation.js';
import { internalError } from '../../contract/problems/problem.filter.js';
import { recordedArguments } from '../../contract/recorded-arguments.js';
import { INVALID_PARAMS, isRpcError, rpcError } from '../protocol/json-rpc.js';
import type { Caller } from './entries.js';
import { ToolRegistry } from './tool-registry.js';

/** Calls tools. Errors become results with `isError`, because only results reach the model. */
@Injectable()
export class ToolExecutor {
  readonly #logger = new Logger('mcp');

  constructor(
    private readonly registry: ToolRegistry,
    private readonly recorder: AuditRecorder,
  ) {}

  /** @throws Error with the JSON-RPC code -32602 if the tool does not exist */
  async call(name: string, args: unknown, caller: Caller): Promise<CallToolResult> {
    const tool = this.registry.find(name);
    if (!tool)
      throw rpcError(
        INVALID_PARAMS,
        `There is no tool ${name.slice(0, 100)}. Call tools/list for the names of the tools.`,
      );
    try {
      if (tool.operation)
        requireOperation(caller.principal, tool.operation, asksForDryRun(args), 'use dry_run=true');
      else {
        requireForScope(caller.principal, undefined);
        requireRole(caller.principal, tool.role);
      }
      return await tool.call(args, caller);
    } catch (error) {
      // An error with a JSON-RPC code is for the client, not for the model.
      if (!(error instanceof AppError) && isRpcError(error)) throw error;
      if (tool.operation) await this.#recordRefusal(tool.operation, args, caller, error);
      const known = error instanceof AppError ? error : this.#logUnexpected(name, error);
      caller.log(
        known.status < 500 ? 'warning' : 'error',
        namingTools(`${name}: ${known.code}: ${known.detail}`),
      );
      return toErrorResult(known);
    }
  }

  /** Writes an audit line for a call that did not reach its service method. The service records its own errors. */
  async #recordRefusal(
    { name, input, readOnly }: DeclaredOperation,
    args: unknown,
    { principal: { actor, role } }: Caller,
    error: unknown,
  ): Promise<void> {
    if (!readOnly)
      await this.recorder.recordRefusal(
        name,
        recordedArguments(input, args),
        { actor, role, via: 'mcp' },
        error,
      );
  }

  #logUnexpected(name: string, cause: unknown): AppError {
    const error = internalError(cause);
    this.#logger.error(
      `The tool ${name} failed: ${error.detail}`,
      cause instanceof Error ? cause.stack : String(cause),
    );
    return error;
  }
}

/** Only `true` is a dry run: the input of a tool does not guess this argument. */
function asksForDryRun(args: unknown): boolean {
  return (args as { dry_run?: unknown } | null | undefined)?.dry_run === true;
}

function toErrorResult(error: AppError): CallToolResult {
  const problem = JSON.parse(namingTools(JSON.stringify(error.toProblem()))) as Problem;
  const { code, detail, errors, existing } = problem;
  const fieldLines = notInDetail(problem).map(({ field, message }) => `- ${field} ${message}`);
  const existingLines = existing ? [`Existing: ${JSON.stringify(existing)}`] : [];
  const structuredContent = { code, detail, ...(errors && { errors }), ...(existing && { existing }) };
  return {
    isError: true,
    content: [{ type: 'text', text: [`${code}: ${detail}`, ...fieldLines, ...existingLines].join('\n') }],
    structuredContent,
  };
}
