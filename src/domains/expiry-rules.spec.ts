import { describe, expect, it } from 'vitest';
import { AppError } from '../errors/app-error.js';
import { Draft } from '../model/draft.js';
import { State } from '../model/state.js';
import { checkMarks, type DeclaredMarks, setMarks } from './expiry-rules.js';

const NOW = Date.parse('2026-06-01T12:00:00.400Z');
const SITE = { https: 'redirect', labels: { team: 'web' }, expires_at: '2026-06-02T00:00:00Z' };

function siteAfter(marks: DeclaredMarks, site: object | null = SITE): unknown {
  const pool = { domains: ['a.test'], servers: new Map() };
  const sites: [string, Record<string, unknown>][] = site ? [['a.test', { ...site }]] : [];
  const draft = new Draft(new State(1, [['pool_1', pool]], sites));
  checkMarks(marks);
  setMarks(draft, 'a.test', marks, { now: NOW });
  return draft.isEmpty ? 'unchanged' : draft.site('a.test');
}

describe('setMarks', () => {
  it.each<[string, DeclaredMarks, unknown]>([
    ['nothing', {}, 'unchanged'],
    ['the same values', { labels: { team: 'web' }, expires_at: '2026-06-02T02:00:00+02:00' }, 'unchanged'],
    ['other labels', { labels: { a: 'b' } }, { ...SITE, labels: { a: 'b' } }],
    ['no labels', { labels: {} }, { https: 'redirect', expires_at: SITE.expires_at }],
    ['never', { expires_in: 'never' }, { https: 'redirect', labels: { team: 'web' } }],
    ['minutes', { expires_in: '30m' }, { ...SITE, expires_at: '2026-06-01T12:30:01Z' }],
    ['a duration', { expires_in: '7d' }, { ...SITE, expires_at: '2026-06-08T12:00:01Z' }],
    ['ten years', { expires_in: '3653d' }, { ...SITE, expires_at: '2036-06-01T12:00:01Z' }],
    ['a time', { expires_at: '2026-06-01T12:00:01.2Z' }, { ...SITE, expires_at: '2026-06-01T12:00:02Z' }],
  ])('of a domain with marks: %s', (_, marks, expected) => {
    expect(siteAfter(marks)).toEqual(expected);
  });

  it('leaves no site for a domain that has nothing more', () => {
    expect(siteAfter({ labels: {} }, { labels: { a: 'b' } })).toBeUndefined();
    expect(siteAfter({ labels: {}, expires_in: 'never' }, null)).toBe('unchanged');
  });

  it.each<[DeclaredMarks, string]>([
    [{ expires_at: '2026-06-01T12:00:00Z' }, 'must be in the future: it is 2026-06-01T12:00:01Z now'],
    [{ expires_at: '2126-06-01T12:00:00Z' }, 'must be at most 10 years from now'],
    [{ expires_at: '2027-01-01T00:00:00Z', expires_in: '1d' }, 'is not allowed together with expires_in'],
    [{ expires_at: '2027-01-01T00:00:00Z', expires_in: 'never' }, 'is not allowed together with expires_in'],
  ])('refuses %j', (marks, message) => {
    let error: unknown;
    try {
      siteAfter(marks);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ code: 'validation_failed', errors: [{ field: 'expires_at', message }] });
  });
});
