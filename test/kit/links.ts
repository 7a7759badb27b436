import { join } from 'node:path';

/** The files and folders that a page links to, as it names them. Links to other hosts and to headings are left out. */
export function linksOf(text: string): string[] {
  const links = text.matchAll(/\]\((?!https?:|#|mailto:)(?<target>[^)#\s]+)[^)]*\)/g);
  return [...links].map(({ groups }) => groups?.['target'] ?? '');
}

/** `page: link` for each link that leads to none of the files. `files` has the text of each page by its path, and no text of others. */
export function brokenLinks(files: ReadonlyMap<string, string | undefined>): string[] {
  const paths = [...files.keys()];
  return [...files].flatMap(([page, text = '']) =>
    linksOf(text)
      .filter((target) => {
        const path = join(page, '..', target).replace(/\/$/, '');
        return !paths.some((one) => one === path || one.startsWith(`${path}/`));
      })
      .map((target) => `${page}: ${target}`),
  );
}
