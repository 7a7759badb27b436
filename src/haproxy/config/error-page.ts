/** HTML in one line and without double quotes, because it is inside a quoted string of the configuration. */
export function errorPage(title: string, text: string): string {
  return `<!doctype html><html lang=en><meta charset=utf-8><title>${title}</title><h1>${title}</h1><p>${text}</p></html>`;
}
