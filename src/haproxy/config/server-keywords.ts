/**
 * The keywords of every server, in pools.cfg and in `add server` alike: a server made at run time ignores
 * `default-server`, so that anything said there would be lost with the next change.
 */
export const SERVER_KEYWORDS: readonly string[] = ['check', 'inter', '2s', 'fall', '3', 'rise', '2'];
