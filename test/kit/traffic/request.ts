import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';

export interface Answer {
  status: number;
  body: string;
  headers: IncomingHttpHeaders;
}

/** Longer than any test delays a response. */
const TIMEOUT_MS = 60_000;

/** Sends a GET on a new connection with any Host and other headers. fetch does not allow to set Host. */
export function get(
  port: number,
  host: string,
  path = '/',
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { host: '127.0.0.1', port, path, headers: { ...headers, host }, agent: false, timeout: TIMEOUT_MS },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          body += text;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body, headers: response.headers }),
        );
        response.on('error', reject);
      },
    );
    request.on('timeout', () => request.destroy(new Error(`no answer for ${host} in ${TIMEOUT_MS} ms`)));
    request.on('error', reject);
    request.end();
  });
}
