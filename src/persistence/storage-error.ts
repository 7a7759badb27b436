import { AppError, messageOf } from '../common/errors.js';

const STORAGE_ADVICE: Record<string, string> = {
  ENOSPC: 'the disk is full; free some space and repeat the request',
  EDQUOT: 'the disk quota is used up; free some space and repeat the request',
  EROFS: 'the file system is read-only; remount it writable and repeat the request',
  EACCES: 'the suite may not write there; give its user the right and repeat the request',
  EPERM: 'the suite may not write there; give its user the right and repeat the request',
};

/** Errors of the file system become storage_failed with advice; anything else stays what it is. */
export function asStorageError(error: unknown, home: string): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (error instanceof AppError || typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) return error;
  const advice = STORAGE_ADVICE[code] ?? 'see the log and the state of the disk, then repeat the request';
  return new AppError(
    'storage_failed',
    `${messageOf(error)}: ${advice} (state folder ${home}). Nothing was changed.`,
    {
      cause: error,
    },
  );
}
