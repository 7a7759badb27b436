import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { EventFeed } from '../../signals/event-feed.js';
import { ResourceRegistry } from './resource-registry.js';

/** Many changes may come at once; a subscriber has to read the resource again only once for all of them. */
const GATHER_MS = 50;

/** Tells subscriptions of both eras which resources have another content now. */
@Injectable()
export class ResourceUpdates implements OnApplicationShutdown {
  private readonly listeners = new Set<(uris: ReadonlySet<string>) => void>();
  private gathered = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private readonly stop: () => void;

  constructor(feed: EventFeed, resources: ResourceRegistry) {
    this.stop = feed.subscribe((change) => {
      if (this.listeners.size > 0) this.gather(resources.changedBy(change));
    });
  }

  /** Returns how to stop listening. */
  listen(listener: (uris: ReadonlySet<string>) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  onApplicationShutdown(): void {
    this.stop();
    clearTimeout(this.timer);
  }

  private gather(uris: readonly string[]): void {
    for (const uri of uris) this.gathered.add(uri);
    this.timer ??= setTimeout(() => {
      const changed = this.gathered;
      this.gathered = new Set();
      this.timer = undefined;
      for (const listener of this.listeners) listener(changed);
    }, GATHER_MS).unref();
  }
}
