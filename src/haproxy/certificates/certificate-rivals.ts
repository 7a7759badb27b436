import type { X509Certificate } from 'node:crypto';
import { basename } from 'node:path';
import { dnsNamesOf, indexedNamesOf, keyKindOf } from './certificate-facts.js';

interface Stored {
  path: string;
  leaf: X509Certificate;
}

/**
 * Certificates with the same kind of key that share a name. HAProxy serves the one that it inserted first. A start or a
 * reload inserts them by file name; "set ssl cert" and "commit ssl cert" move a certificate to the end. Pure.
 */
export class CertificateRivals {
  readonly #byName = new Map<string, Stored[]>();
  /** Paths in the order in which they were chosen to win, the last choice first. */
  readonly #rank: ReadonlyMap<string, number>;

  /** `preferred`: file names that were chosen to win, the last choice last. */
  constructor(
    private readonly files: readonly Stored[],
    preferred: readonly string[],
  ) {
    this.#rank = new Map(preferred.map((name, index) => [name, index]));
    for (const file of files)
      for (const name of indexedNamesOf(file.leaf)) {
        const key = `${keyKindOf(file.leaf)} ${name}`;
        this.#byName.set(key, [...(this.#byName.get(key) ?? []), file]);
      }
  }

  /**
   * The certificate and all others that compete with it, directly or through others, in the order in which HAProxy must
   * have them: the last choice first, then by file name, as HAProxy starts. A certificate with the name only as its
   * common name comes after the others, because no client accepts it for this name.
   */
  orderOf(path: string): string[] {
    const start = this.files.find((file) => file.path === path);
    if (!start) return [];
    const found = new Set([start]);
    for (const file of found) for (const rival of this.#rivalsOf(file)) found.add(rival);
    const sorted = [...found].toSorted(
      (a, b) => this.#rankOf(b) - this.#rankOf(a) || (basename(a.path) < basename(b.path) ? -1 : 1),
    );
    const order: Stored[] = [];
    while (sorted.length > 0) {
      const next = sorted.findIndex((file) => !sorted.some((other) => takesNameOf(file, other)));
      // Two certificates can have each other's name as their common name. Then the choice decides.
      order.push(...sorted.splice(Math.max(next, 0), 1));
    }
    return order.map((file) => file.path);
  }

  /** The orders of all certificates that were chosen to win and have rivals. */
  preferredOrders(): string[][] {
    const orders: string[][] = [];
    const done = new Set<string>();
    for (const { path } of this.files) {
      if (!this.#rank.has(basename(path)) || done.has(path)) continue;
      const order = this.orderOf(path);
      for (const member of order) done.add(member);
      if (order.length > 1) orders.push(order);
    }
    return orders;
  }

  #rankOf({ path }: Stored): number {
    return this.#rank.get(basename(path)) ?? -1;
  }

  /** A common name that is no alternative name competes only with real names: no client asks for it. */
  #rivalsOf(file: Stored): Stored[] {
    const kind = keyKindOf(file.leaf);
    const own = new Set(dnsNamesOf(file.leaf));
    return indexedNamesOf(file.leaf).flatMap((name) =>
      (this.#byName.get(`${kind} ${name}`) ?? []).filter(
        (other) => other !== file && (own.has(name) || dnsNamesOf(other.leaf).includes(name)),
      ),
    );
  }
}

/** Whether `other` is for a name that `file` has only as its common name, where no client accepts it. */
function takesNameOf(file: Stored, other: Stored): boolean {
  const names = dnsNamesOf(file.leaf);
  const others = dnsNamesOf(other.leaf);
  return indexedNamesOf(file.leaf).some((name) => !names.includes(name) && others.includes(name));
}
