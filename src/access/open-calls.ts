import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { routeMetadataOf } from '../contract/route-metadata.js';
import { AppError } from '../errors/app-error.js';
import { isAbandoned, abandon } from '../lib/abort-on-close.js';
import { EventFeed } from '../signals/event-feed.js';
import { ownerOf, type Principal } from './principal.js';

/** How long a change that runs, or a stream that closes, has until its connection is closed. */
const GRACE_MS = 1000;

interface OpenCall {
  request: FastifyRequest;
  reply: FastifyReply;
}

/** The calls without a complete answer, of callers whose token can end. */
@Injectable()
export class OpenCalls {
  readonly #calls = new Map<string, Set<OpenCall>>();

  constructor(feed: EventFeed) {
    feed.subscribe((event) => {
      if (event.topic === 'token_ended') this.#end(event.owner);
    });
  }

  /** Follows a call until its response is closed. */
  add(principal: Principal, request: FastifyRequest, reply: FastifyReply): void {
    if (principal.kind === 'network') return;
    const owner = ownerOf(principal);
    const calls = this.#calls.get(owner) ?? new Set();
    const call = { request, reply };
    this.#calls.set(owner, calls.add(call));
    reply.raw.once('close', () => {
      calls.delete(call);
      if (calls.size === 0 && this.#calls.get(owner) === calls) this.#calls.delete(owner);
    });
  }

  #end(owner: string): void {
    for (const call of this.#calls.get(owner) ?? []) endCall(call);
  }
}

/**
 * Ends a call whose token has ended. A call that reads, and one whose body has not arrived, get 401. A change that runs
 * answers, because its caller must know whether it was made. A stream ends.
 */
function endCall({ request, reply }: OpenCall): void {
  const { raw } = reply;
  abandon(raw);
  const { operation } = routeMetadataOf(request);
  const isReading = operation?.readOnly ?? request.method === 'GET';
  // MCP writes its own answers, for which `sent` is true from the start.
  if (!reply.sent && !raw.headersSent && (isReading || !request.raw.complete)) {
    void reply.header('connection', 'close');
    reply.send(tokenEnded());
    return;
  }
  setTimeout(() => {
    if (!raw.writableFinished) raw.destroy();
  }, GRACE_MS).unref();
}

/** @throws AppError unauthorized, if the token of the call has ended since its headers arrived */
export function requireNotEnded({ raw }: FastifyReply): void {
  if (isAbandoned(raw)) throw tokenEnded();
}

function tokenEnded(): AppError {
  return new AppError(
    'unauthorized',
    'The token was revoked or has expired during the call. Send a valid token.',
  );
}
