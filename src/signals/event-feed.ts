import { Injectable, Logger } from '@nestjs/common';
import { messageOf } from '../errors/app-error.js';

/** A change of an MCP resource. Published after the change is on disk and in HAProxy. */
export type ResourceEvent =
  /** The state has a new revision. `domains` are the domains whose route, or whose pool's servers, have changed. */
  | { topic: 'routing'; revision: number; domains: readonly string[] }
  /** Certificates were issued, renewed, loaded or deleted, or a renewal failed. */
  | { topic: 'certificates' };

export type EventTopic = ResourceEvent['topic'];

/** Every event of the feed. */
type FeedEvent =
  | ResourceEvent
  /** The suite started HAProxy or attached to it. The Runtime API answers; `pid` is the worker. */
  | { topic: 'haproxy_started'; pid: number }
  /** A token was revoked, was changed or has expired. `owner` is the caller that it identified. */
  | { topic: 'token_ended'; owner: string };

/** Publishes events to higher layers, such as MCP subscriptions, without the publisher knowing them. */
@Injectable()
export class EventFeed {
  readonly #logger = new Logger('events');
  readonly #subscribers = new Set<(event: FeedEvent) => void>();

  /** Returns a function that ends the subscription. */
  subscribe(subscriber: (event: FeedEvent) => void): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  /** Calls the subscribers one after another, synchronously. Logs an error of a subscriber and calls the next one. */
  publish(event: FeedEvent): void {
    for (const subscriber of this.#subscribers) {
      try {
        subscriber(event);
      } catch (error) {
        this.#logger.error(`A subscriber of the event feed failed: ${messageOf(error)}`);
      }
    }
  }
}
