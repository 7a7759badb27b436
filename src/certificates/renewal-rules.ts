import { createHash, type X509Certificate } from 'node:crypto';

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;
/** A certificate with a shorter lifetime is renewed after half of it, any other after two thirds. */
const SHORT_LIFETIME_MS = 10 * DAY_MS;
/** Due dates are spread over this part of the renewal window, so that certificates of one day do not stay together. */
const SPREAD = 0.1;

const MAX_BACKOFF_MS = 96 * HOUR_MS;
/** With this time left or less, the back-off is shorter. */
const URGENT_MS = 7 * DAY_MS;
const MAX_URGENT_BACKOFF_MS = 12 * HOUR_MS;
/** The back-off is at most this part of the renewal window, so that a short-lived certificate gets several attempts. */
const BACKOFF_PART = 8;

type Validity = Pick<X509Certificate, 'validFrom' | 'validTo'>;

export type CertificateAlarm = 'healthy' | 'degraded' | 'down';

/** Milliseconds until the certificate expires; negative after that. */
export function timeLeft({ validTo }: Pick<Validity, 'validTo'>, now = Date.now()): number {
  return Date.parse(validTo) - now;
}

/**
 * The renewal window R in milliseconds: a certificate with less time left is due. At most `renewDays`, and at most a
 * third of the lifetime, or half of it if the lifetime is less than 10 days.
 */
export function renewalWindow({ validFrom, validTo }: Validity, renewDays: number): number {
  const lifetime = Date.parse(validTo) - Date.parse(validFrom);
  const part = lifetime < SHORT_LIFETIME_MS ? lifetime / 2 : lifetime / 3;
  return Math.min(renewDays * DAY_MS, part);
}

export function isDue(certificate: Validity, renewDays: number, now = Date.now()): boolean {
  return timeLeft(certificate, now) < renewalWindow(certificate, renewDays);
}

/** As `isDue`, for the schedule: later by up to a tenth of the window, by the serial number of the certificate. */
export function isDueBySchedule(
  certificate: Validity & Pick<X509Certificate, 'serialNumber'>,
  renewDays: number,
  now = Date.now(),
): boolean {
  const delay = SPREAD * fractionOf(certificate.serialNumber);
  return timeLeft(certificate, now) < (1 - delay) * renewalWindow(certificate, renewDays);
}

/** Renewal has failed for half of the window: degraded; for nine tenths: down. */
export function alarmOf(certificate: Validity, renewDays: number, now = Date.now()): CertificateAlarm {
  const left = timeLeft(certificate, now);
  const window = renewalWindow(certificate, renewDays);
  if (left < window / 10) return 'down';
  return left < window / 2 ? 'degraded' : 'healthy';
}

/**
 * When the schedule tries again after `failures` failed attempts, the last at `lastAttempt`: 1, 2, 4 … 96 hours later.
 * At most 12 hours in the last week, and at most an eighth of the renewal window. Never before `retryAt`, if the CA named
 * a time.
 */
export function nextAttempt(
  failed: { failures: number; lastAttempt: number; retryAt?: number | undefined },
  certificate: Validity | undefined,
  renewDays: number,
  now = Date.now(),
): number {
  const { failures, lastAttempt, retryAt = 0 } = failed;
  if (failures === 0) return 0;
  const isUrgent = !certificate || timeLeft(certificate, now) <= URGENT_MS;
  const limit = Math.min(
    isUrgent ? MAX_URGENT_BACKOFF_MS : MAX_BACKOFF_MS,
    certificate ? renewalWindow(certificate, renewDays) / BACKOFF_PART : Number.POSITIVE_INFINITY,
  );
  return Math.max(lastAttempt + Math.min(2 ** (failures - 1) * HOUR_MS, limit), retryAt);
}

/** `5 h`, `3 day(s)`, `40 min`: how long, for a message. */
export function durationText(ms: number): string {
  const time = Math.abs(ms);
  if (time >= 2 * DAY_MS) return `${Math.floor(time / DAY_MS)} day(s)`;
  if (time >= HOUR_MS) return `${Math.floor(time / HOUR_MS)} h`;
  return `${Math.floor(time / 60_000)} min`;
}

/** A number from 0 to 1 that is always the same for one serial number. */
function fractionOf(serial: string): number {
  return createHash('sha256').update(serial).digest().readUInt32BE() / 2 ** 32;
}
