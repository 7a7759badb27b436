/**
 * The keywords of every server, in pools.cfg and in `add server`. They are not in a `default-server` line, because a
 * server added at run time ignores `default-server`.
 */
export const SERVER_KEYWORDS: readonly string[] = ['check', 'inter', '2s', 'fall', '3', 'rise', '2'];
