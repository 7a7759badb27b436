import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import type {
  CallToolResult,
  GetPromptResult,
  Prompt,
  Resource,
  ResourceTemplate,
  ServerNotification,
  ServerRequest,
  Tool,
} from '@modelcontextprotocol/sdk/types.js';
import type { ServerContext } from '@modelcontextprotocol/server';
import type { Principal } from '../../access/principal.js';
import type { CallContext } from '../../contract/call-context.js';
import type { ResourceEvent } from '../../signals/event-feed.js';
import type { DeclaredOperation } from '../../contract/operation.js';
import type { Role } from '../../contract/role.js';

/** The request as the library of its protocol revision describes it. Only code about the protocol itself reads it. */
export type ProtocolRequest =
  /** 2024-11-05 to 2025-11-25 */
  | { protocol: 'sessions'; extra: RequestHandlerExtra<ServerRequest, ServerNotification> }
  /** 2026-07-28 */
  | { protocol: 'stateless'; context: ServerContext };

/** The client that sent a request, and how to reach the client while the request runs. */
export interface Caller extends Pick<CallContext, 'progress' | 'log'> {
  signal: AbortSignal;
  principal: Principal;
  request: ProtocolRequest;
}

export interface CatalogueTool {
  definition: Tool;
  /** The least role that may call it. `tools/list` shows a caller only such tools. */
  role: Role;
  /** Set for tools that are operations. Their changes are audited. */
  operation?: DeclaredOperation;
  /** Throws AppError if the call fails. ToolExecutor converts it to a result. */
  call: (args: unknown, caller: Caller) => Promise<CallToolResult>;
}

export type ResourceContent = { mimeType?: string; text: string } | { mimeType?: string; blob: string };

export interface CatalogueResource {
  /** A ResourceTemplate if the URI has variables. */
  definition: Resource | ResourceTemplate;
  /** Whether a token that is limited to some domains may read it. Default false. */
  isForScope?: boolean;
  read: (variables: Record<string, string>, caller: Caller) => Promise<ResourceContent>;
  /** Whether a subscriber is ever notified. */
  notifies: boolean;
  /** Returns the URIs of this resource whose content the event affects. */
  changedBy: (event: ResourceEvent) => readonly string[];
}

export interface CataloguePrompt {
  definition: Prompt;
  /** Names of the tools that the prompt mentions. If one of these tools is missing, the prompt is not offered. */
  requiredTools?: readonly string[];
  render: (args: Record<string, string>, caller: Caller) => Promise<GetPromptResult>;
}
