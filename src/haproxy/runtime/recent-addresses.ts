import type { StatRow } from '../parsers/stat.parser.js';
import type { AddressChange } from './step-commands.js';
import { serverName } from '../../model/names/pool-name.js';

/**
 * How long `show stat` can show a check of the former address of a server. HAProxy keeps the result when an address
 * changes. The next check begins within `inter` (2 s, spread by 5 %), and ends within another `inter`.
 */
const STALE_CHECK_MS = 4_500;

/** The servers whose address changed a short time ago, so that their health check may be that of the former address. */
export class RecentAddresses {
  readonly #until = new Map<string, number>();

  note(changes: readonly AddressChange[]): void {
    const now = performance.now();
    for (const [server, until] of this.#until) if (until <= now) this.#until.delete(server);
    for (const { pool, slot } of changes) this.#until.set(serverName(pool, slot), now + STALE_CHECK_MS);
  }

  /** The same rows, in which no check of a former address has finished. */
  withoutStaleChecks(rows: StatRow[]): StatRow[] {
    if (this.#until.size === 0) return rows;
    const now = performance.now();
    return rows.map((row) =>
      row.kind === 'server' && (this.#until.get(row.service) ?? 0) > now ? unchecked(row) : row,
    );
  }
}

function unchecked(row: StatRow): StatRow {
  const text = (column: string) => (column === 'check_status' ? 'INI' : row.text(column));
  return {
    proxy: row.proxy,
    service: row.service,
    kind: row.kind,
    get: (column) => (column === 'check_status' ? 'INI' : row.get(column)),
    number: (column) => row.number(column),
    text,
  };
}
