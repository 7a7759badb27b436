import { readFile } from 'node:fs/promises';
import { parse } from 'dotenv';
import { formatHostPort } from '../model/ip-address.js';
import type { Settings } from './settings.js';

/** The address of the suite for a program on the same machine. A client cannot connect to `0.0.0.0` or `::`. */
export function localUrl({ host, port }: Settings['api']): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${formatHostPort(name, port)}`;
}

/** The token in a file with `MCP_TOKEN=...`, `MCP_READONLY_TOKEN=...` or only the token. @throws the error of the disk */
export async function readToken(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8');
  const values = parse(text);
  const token = values['MCP_TOKEN'] ?? values['MCP_READONLY_TOKEN'] ?? text.trim();
  return /^[\x21-\x7E]+$/.test(token) ? token : undefined;
}
