/** What decides which domains are counted: a `Scope`. */
export interface CountedScope {
  includes(domain: string): boolean;
}

/** The most scopes whose counts are kept. The count that was used longest ago is dropped first. */
const MAX_COUNTS = 64;
/** Above this many tests of a domain in one change, the counts are dropped. Counting again takes about as long. */
const MAX_TESTS = 100_000;

/**
 * How many domains of a state each scope has. A count is made once and then changed with the state, because to look at 100,000
 * domains in each commit would make every caller wait.
 */
export class ScopeCounts {
  readonly #counts = new Map<CountedScope, number>();

  constructor(private readonly domains: () => Iterable<string>) {}

  of(scope: CountedScope): number {
    const count = this.#counts.get(scope) ?? countIn(this.domains(), scope);
    this.#counts.delete(scope);
    this.#counts.set(scope, count);
    const [oldest] = this.#counts.keys();
    if (oldest && this.#counts.size > MAX_COUNTS) this.#counts.delete(oldest);
    return count;
  }

  /** `added` are domains that the state did not have, `removed` are domains that it had. */
  change(added: readonly string[], removed: readonly string[]): void {
    if ((added.length + removed.length) * this.#counts.size > MAX_TESTS) {
      this.#counts.clear();
      return;
    }
    for (const [scope, count] of this.#counts)
      this.#counts.set(scope, count + countIn(added, scope) - countIn(removed, scope));
  }
}

function countIn(domains: Iterable<string>, scope: CountedScope): number {
  let count = 0;
  for (const domain of domains) if (scope.includes(domain)) count += 1;
  return count;
}
