/** A URI template with the simple variables of RFC 6570 (level 1). A variable does not match `/`, `?` and `#`. */
export class UriTemplate {
  readonly variables: readonly string[];
  readonly #pattern: RegExp;

  constructor(readonly source: string) {
    this.variables = [...source.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '');
    const literals = source
      .split(/\{\w+\}/)
      .map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
    this.#pattern = new RegExp(`^${literals.join('([^/?#]+)')}$`);
  }

  /** Returns the decoded values of the variables, or undefined if the URI does not match the template. */
  match(uri: string): Record<string, string> | undefined {
    const found = this.#pattern.exec(uri);
    if (!found) return undefined;
    try {
      return Object.fromEntries(
        this.variables.map((name, index) => [name, decodeURIComponent(found[index + 1] ?? '')]),
      );
    } catch {
      // The URI contains a percent sign that is not part of a valid encoding.
      return undefined;
    }
  }

  expand(values: Readonly<Record<string, string>>): string {
    return this.source.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
  }
}
