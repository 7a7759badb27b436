import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';

/** What has just become true. Told after it is durable and live, never before. */
export type Change =
  /** A new revision. `domains` are those whose route or whose pool's servers are not as before. */
  | { topic: 'routing'; revision: number; domains: readonly string[] }
  /** Certificates were issued, renewed, loaded, deleted, or their renewal went wrong. */
  | { topic: 'certificates' };

export type EventTopic = Change['topic'];

/** Lets those hear of changes whom the changing side knows nothing about: MCP subscriptions, later a web console. */
@Injectable()
export class EventFeed {
  readonly #logger = new Logger('changes');
  readonly #listeners = new Set<(change: Change) => void>();

  /** Returns how to stop listening. */
  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Listeners are told at once and one after another; what one of them throws is its own trouble. */
  tell(change: Change): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#logger.error(`A listener failed: ${messageOf(error)}`);
      }
    }
  }
}
