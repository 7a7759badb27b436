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
import type { FeedEvent } from '../../signals/event-feed.js';
import type { DeclaredOperation } from '../../contract/operation.js';

/** What the protocol library of each era gives with a request; only what speaks the protocol itself looks at it. */
export type Native =
  | { era: '2025'; extra: RequestHandlerExtra<ServerRequest, ServerNotification> }
  | { era: '2026'; context: ServerContext };

/** Who asks, and how to reach them while the answer is being made. */
export interface Caller extends Pick<CallContext, 'progress' | 'log'> {
  signal: AbortSignal;
  principal: Principal;
  native: Native;
}

/** Entries of the one catalogue that both eras of MCP are served from. */
export interface CatalogueTool {
  definition: Tool;
  readOnly: boolean;
  /** The operation it is, where it is one: its changes are audited. */
  operation?: DeclaredOperation;
  /** Throws what it fails with; the caller of it makes that a result. */
  call: (given: unknown, caller: Caller) => Promise<CallToolResult>;
}

export type ResourceContent = { mimeType?: string; text: string } | { mimeType?: string; blob: string };

export interface CatalogueResource {
  /** What `resources/list` or, where the URI has variables, `resources/templates/list` shows. */
  definition: Resource | ResourceTemplate;
  read: (variables: Record<string, string>, caller: Caller) => Promise<ResourceContent>;
  /** The URIs, of those that this resource has, whose content is another one after the change. */
  changedBy: (change: FeedEvent) => readonly string[];
}

export interface CataloguePrompt {
  definition: Prompt;
  /** The tools that it tells to call: without one of them it is of no use. */
  needs?: readonly string[];
  render: (given: Record<string, string>, caller: Caller) => Promise<GetPromptResult>;
}
