import { unexpectedOutput } from './parse-error.js';

/** The fields of `show info` that the suite uses. */
export interface HaproxyInfo {
  /** As HAProxy prints it: `3.2.26-1`. */
  version: string;
  /** The pid of the worker. A restart or a reload starts a new worker. */
  pid: number;
  uptimeSeconds: number;
  /** The start time of the process, in seconds since 1970. */
  startedSec: number;
  threads: number;
  maxConnections: number;
  currentConnections: number;
  totalConnections: number;
  totalRequests: number;
  connectionRate: number;
  stopping: boolean;
  idlePercent: number;
  /** All fields by name, as text. */
  fields: ReadonlyMap<string, string>;
}

/**
 *   Name: HAProxy
 *   Version: 3.2.26-1
 *   Pid: 5982
 *   Uptime_sec: 1
 *   …
 *
 * (Management guide, "show info".)
 */
export function parseInfo(text: string): HaproxyInfo {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const version = fields.get('Version');
  const pid = Number(fields.get('Pid'));
  if (fields.get('Name') === undefined || !version || !(pid > 0))
    throw unexpectedOutput('the output of "show info"', text);
  const number = (name: string): number => {
    const value = Number(fields.get(name));
    return Number.isFinite(value) ? value : 0;
  };
  return {
    version,
    pid,
    uptimeSeconds: number('Uptime_sec'),
    startedSec: number('Start_time_sec'),
    threads: number('Nbthread'),
    maxConnections: number('Maxconn'),
    currentConnections: number('CurrConns'),
    totalConnections: number('CumConns'),
    totalRequests: number('CumReq'),
    connectionRate: number('ConnRate'),
    stopping: number('Stopping') !== 0,
    idlePercent: number('Idle_pct'),
    fields,
  };
}
