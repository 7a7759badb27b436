import { AppError, messageOf } from './app-error.js';

const ADVICE: Record<string, string> = {
  ENOSPC: 'the disk is full; free some space and repeat the request',
  EDQUOT: 'the disk quota is used up; free some space and repeat the request',
  EROFS: 'the file system is read-only; remount it writable and repeat the request',
  EACCES: 'the suite may not write there; give its user the right and repeat the request',
  EPERM: 'the suite may not write there; give its user the right and repeat the request',
};

/** What the file system refused, with advice. The caller has put everything back. */
export function storageError(error: unknown, home?: string): AppError {
  const advice =
    ADVICE[codeOf(error) ?? ''] ?? 'see the log and the state of the disk, then repeat the request';
  const where = home === undefined ? '' : ` (state folder ${home})`;
  return new AppError('storage_failed', `${messageOf(error)}: ${advice}${where}. Nothing was changed.`, {
    cause: error,
  });
}

/** Errors of the file system become storage_failed with advice; anything else stays what it is. */
export function asStorageError(error: unknown, home: string): unknown {
  if (error instanceof AppError || !/^E[A-Z0-9]+$/.test(codeOf(error) ?? '')) return error;
  return storageError(error, home);
}

function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}
