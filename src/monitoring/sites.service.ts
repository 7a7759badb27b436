import type { State } from '../model/state.js';
import { Injectable } from '@nestjs/common';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import { parseServersState } from '../haproxy/parsers/server-state.parser.js';
import { SingleFlight } from '../lib/single-flight.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { type SitesOverview, sitesOverview } from './site-rules.js';

/** How long an overview is used again. With 10,000 pools, HAProxy needs some 10 ms for the list of its servers. */
const MAX_AGE_MS = 1_000;

/** Which domains are down, read from HAProxy with one command for all pools. For health and metrics. */
@Injectable()
export class SitesService {
  #last: { at: number; overview: SitesOverview } | undefined;
  readonly #reads = new SingleFlight(() => this.#read());

  constructor(
    private readonly persistence: PersistenceService,
    private readonly runtime: HaproxyRuntimeService,
  ) {}

  /** At most a second old. @throws AppError haproxy_unavailable, haproxy_rejected */
  async overview(): Promise<SitesOverview> {
    if (this.#last && performance.now() - this.#last.at < MAX_AGE_MS) return this.#last.overview;
    return this.#reads.run();
  }

  /** The overview of a part of the state, read now. @throws as `overview` */
  async overviewOf(state: State): Promise<SitesOverview> {
    return sitesOverview(state, parseServersState(await this.runtime.serversState()));
  }

  async #read(): Promise<SitesOverview> {
    const at = performance.now();
    const rows = parseServersState(await this.runtime.serversState());
    const overview = sitesOverview(this.persistence.state, rows);
    this.#last = { at, overview };
    return overview;
  }
}
