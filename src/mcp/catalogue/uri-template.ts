/** The simple variables of RFC 6570 (level 1) between slashes, which is all that our resources need. */
export class UriPattern {
  readonly variables: readonly string[];
  readonly #pattern: RegExp;

  constructor(readonly template: string) {
    this.variables = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '');
    const source = template
      .split(/\{\w+\}/)
      .map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
    this.#pattern = new RegExp(`^${source.join('([^/?#]+)')}$`);
  }

  /** The variables' values, or undefined where the URI is not one of this pattern. */
  match(uri: string): Record<string, string> | undefined {
    const found = this.#pattern.exec(uri);
    if (!found) return undefined;
    try {
      return Object.fromEntries(
        this.variables.map((name, index) => [name, decodeURIComponent(found[index + 1] ?? '')]),
      );
    } catch {
      // A percent sign that encodes nothing.
      return undefined;
    }
  }

  expand(values: Readonly<Record<string, string>>): string {
    return this.template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
  }
}
