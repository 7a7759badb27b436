import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';

/** What has just become true. Told after it is durable and live, never before. */
export type Change =
  /** A new revision. `domains` are those whose route or whose pool's servers are not as before. */
  | { topic: 'routing'; revision: number; domains: readonly string[] }
  /** Certificates were issued, renewed, loaded, deleted, or their renewal went wrong. */
  | { topic: 'certificates' };

export type EventTopic = Change['topic'];

/** Every event of the feed. */
export type FeedEvent =
  | Change
  /** A HAProxy that the suite runs has started, or the suite has attached to it. Its Runtime API answers; `pid` is its worker. */
  | { topic: 'haproxy_started'; pid: number };

/** Lets those hear of changes whom the changing side knows nothing about: MCP subscriptions, later a web console. */
@Injectable()
export class EventFeed {
  readonly #logger = new Logger('changes');
  readonly #listeners = new Set<(event: FeedEvent) => void>();

  /** Returns how to stop listening. */
  listen(listener: (event: FeedEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Listeners are told at once and one after another; what one of them throws is its own trouble. */
  tell(event: FeedEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#logger.error(`A listener failed: ${messageOf(error)}`);
      }
    }
  }
}
