import { AppError, messageOf } from './app-error.js';

/** What to do next, by the code of the system error (errno(3)). */
const ADVICE: Record<string, string> = {
  ENOSPC: 'the disk is full; free some space and repeat the request',
  EDQUOT: 'the disk quota is used up; free some space and repeat the request',
  EROFS: 'the file system is read-only; remount it writable and repeat the request',
  EACCES: 'the user of the suite may not write there; give it write permission and repeat the request',
  EEXIST: 'a file is in the place of a folder; move the file away and start the suite again',
  ENOTDIR: 'a file is in the place of a folder; move the file away and start the suite again',
  EPERM: 'the user of the suite may not write there; give it write permission and repeat the request',
};

/** An AppError storage_failed with advice. It says that nothing was changed, so roll back before you throw it. */
export function storageError(error: unknown, home?: string): AppError {
  const advice =
    ADVICE[codeOf(error) ?? ''] ?? 'check the log of the suite and the disk, then repeat the request';
  const where = home === undefined ? '' : ` (state folder ${home})`;
  return new AppError('storage_failed', `${messageOf(error)}: ${advice}${where}. Nothing was changed.`, {
    cause: error,
  });
}

/** Turns an error of the file system into storage_failed with advice. Returns any other error unchanged. */
export function asStorageError(error: unknown, home: string): unknown {
  if (error instanceof AppError || !/^E[A-Z0-9]+$/.test(codeOf(error) ?? '')) return error;
  return storageError(error, home);
}

function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}
