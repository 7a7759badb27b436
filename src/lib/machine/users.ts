import { readFileSync } from 'node:fs';
import { targetIn } from './image-root.js';

/** A line of /etc/passwd (passwd(5)). */
export interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
}

/** A line of /etc/group (group(5)). */
export interface GroupEntry {
  name: string;
  gid: number;
  members: readonly string[];
}

/** The users of this machine, or of the image in the folder `root`. Empty if the file cannot be read. */
export function readUsers(root = '/'): PasswdEntry[] {
  return rows(targetIn(root, '/etc/passwd')).map(([name = '', , uid, gid]) => ({
    name,
    uid: Number(uid),
    gid: Number(gid),
  }));
}

/** The name of a user in /etc/passwd, or the uid if there is none. */
export function userName(uid: number): string {
  return readUsers().find((user) => user.uid === uid)?.name ?? String(uid);
}

/** The groups of this machine. Empty if the file cannot be read. */
export function readGroups(): GroupEntry[] {
  return rows('/etc/group').map(([name = '', , gid, members = '']) => ({
    name,
    gid: Number(gid),
    members: members.split(',').filter((member) => member !== ''),
  }));
}

function rows(file: string): string[][] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return [];
  }
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(':'));
}
