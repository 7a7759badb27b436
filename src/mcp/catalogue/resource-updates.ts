import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { EventFeed } from '../../signals/event-feed.js';
import { ResourceRegistry } from './resource-registry.js';

/** Changes within this time are combined, so that a subscriber reads a resource once and not once per change. */
const COALESCE_MS = 50;

/** Notifies the subscriptions of all protocol revisions when the content of resources has changed. */
@Injectable()
export class ResourceUpdates implements OnApplicationShutdown {
  readonly #subscribers = new Set<(uris: ReadonlySet<string>) => void>();
  #pending = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  readonly #unsubscribe: () => void;

  constructor(feed: EventFeed, resources: ResourceRegistry) {
    this.#unsubscribe = feed.subscribe((event) => {
      if (event.topic === 'haproxy_started' || event.topic === 'token_ended') return;
      if (this.#subscribers.size > 0) this.#schedule(resources.changedBy(event));
    });
  }

  /** `subscriber` receives the canonical URIs of changed resources. Returns a function that ends the subscription. */
  subscribe(subscriber: (uris: ReadonlySet<string>) => void): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  onApplicationShutdown(): void {
    this.#unsubscribe();
    clearTimeout(this.#timer);
  }

  #schedule(uris: readonly string[]): void {
    for (const uri of uris) this.#pending.add(uri);
    this.#timer ??= setTimeout(() => {
      const changed = this.#pending;
      this.#pending = new Set();
      this.#timer = undefined;
      for (const subscriber of this.#subscribers) subscriber(changed);
    }, COALESCE_MS).unref();
  }
}
