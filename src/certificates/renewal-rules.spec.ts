import { describe, expect, it } from 'vitest';
import { alarmOf, isDue, isDueBySchedule, nextAttempt, renewalWindow } from './renewal-rules.js';

const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;
const NOW = Date.parse('2026-06-01T00:00:00Z');
const RENEW_DAYS = 30;

/** A certificate with this lifetime and this time left. */
function certificate(lifetime: number, left: number, serialNumber = '01') {
  const text = (time: number) => new Date(time).toISOString();
  return { validFrom: text(NOW + left - lifetime), validTo: text(NOW + left), serialNumber };
}

describe('renewalWindow', () => {
  it.each([
    ['90 days', 90 * DAY, 30 * DAY],
    ['398 days', 398 * DAY, 30 * DAY],
    ['47 days', 47 * DAY, (47 * DAY) / 3],
    ['10 days', 10 * DAY, (10 * DAY) / 3],
    ['6 days', 6 * DAY, 3 * DAY],
    ['24 hours', DAY, 12 * HOUR],
  ])('for a lifetime of %s', (_text, lifetime, window) => {
    expect(renewalWindow(certificate(lifetime, lifetime), RENEW_DAYS)).toBe(window);
  });
});

describe('isDue', () => {
  it('is false for a fresh certificate of 6 days, and true after half of its lifetime', () => {
    expect(isDue(certificate(6 * DAY, 6 * DAY), RENEW_DAYS, NOW)).toBe(false);
    expect(isDue(certificate(6 * DAY, 3 * DAY + 1), RENEW_DAYS, NOW)).toBe(false);
    expect(isDue(certificate(6 * DAY, 3 * DAY - 1), RENEW_DAYS, NOW)).toBe(true);
  });

  it('by schedule is spread over a tenth of the window by the serial number', () => {
    const serials = Array.from({ length: 200 }, (_, index) => index.toString(16));
    const dueAt = (left: number) =>
      serials.filter((serial) => isDueBySchedule(certificate(90 * DAY, left, serial), RENEW_DAYS, NOW))
        .length;
    expect(dueAt(30 * DAY + HOUR)).toBe(0);
    expect(dueAt(28.5 * DAY)).toBeGreaterThan(50);
    expect(dueAt(28.5 * DAY)).toBeLessThan(150);
    expect(dueAt(27 * DAY - HOUR)).toBe(200);
  });
});

describe('alarmOf', () => {
  it.each([
    [90 * DAY, 16 * DAY, 'healthy'],
    [90 * DAY, 14 * DAY, 'degraded'],
    [90 * DAY, 2.9 * DAY, 'down'],
    [6 * DAY, 5 * DAY, 'healthy'],
    [6 * DAY, 1.4 * DAY, 'degraded'],
    [6 * DAY, 7 * HOUR, 'down'],
    [DAY, 20 * HOUR, 'healthy'],
    [90 * DAY, -HOUR, 'down'],
  ] as const)('a lifetime of %d ms with %d ms left is %s', (lifetime, left, alarm) => {
    expect(alarmOf(certificate(lifetime, left), RENEW_DAYS, NOW)).toBe(alarm);
  });
});

describe('nextAttempt', () => {
  it('waits for the larger of the back-off and the time that the CA named', () => {
    const long = certificate(90 * DAY, 25 * DAY);
    const after = (failures: number, retryAt?: number) =>
      (nextAttempt({ failures, lastAttempt: NOW, retryAt }, long, RENEW_DAYS, NOW) - NOW) / HOUR;
    expect([1, 2, 3, 7, 20].map((failures) => after(failures))).toEqual([1, 2, 4, 64, 90]);
    expect(after(1, NOW + 5 * HOUR)).toBe(5);
    expect(after(3, NOW + HOUR)).toBe(4);
    expect(nextAttempt({ failures: 0, lastAttempt: NOW }, long, RENEW_DAYS, NOW)).toBe(0);
  });

  it('waits at most 12 hours in the last week, and an eighth of the window of a short-lived certificate', () => {
    const wait = (lifetime: number, left: number) =>
      (nextAttempt({ failures: 20, lastAttempt: NOW }, certificate(lifetime, left), RENEW_DAYS, NOW) - NOW) /
      HOUR;
    expect(wait(90 * DAY, 6 * DAY)).toBe(12);
    expect(wait(6 * DAY, 2 * DAY)).toBe(9);
    expect(wait(DAY, 6 * HOUR)).toBe(1.5);
  });
});
