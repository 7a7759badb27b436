import type { X509Certificate } from 'node:crypto';
import { connect, type ConnectionOptions, createSecureContext, type SecureContext } from 'node:tls';
import { messageOf } from '../../errors/app-error.js';
import type { KeyKind } from './certificate-facts.js';

/** What a client got: a certificate, no certificate (HAProxy refused the name), or no answer from a TLS server. */
export type HandshakeResult =
  | { certificate: X509Certificate }
  | { certificate: undefined; refused: string }
  | { certificate: undefined; failed: string };

const TIMEOUT_MS = 3_000;

/** OpenSSL's errors for an answer that is not TLS. */
const NOT_TLS = /WRONG_VERSION_NUMBER|PACKET_LENGTH|UNEXPECTED_MESSAGE/;

/** Signature algorithms of a client that accepts only one kind of key. A client with ECDSA accepts all kinds. */
const ONLY: Partial<Record<KeyKind, string>> = {
  rsa: 'RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512',
  other: 'ed25519:ed448',
};

/** Making a context costs more than a handshake. A shared one resumes no session: that needs the option `session`. */
const contexts = new Map<string | undefined, SecureContext>();

function contextFor(only: KeyKind | undefined): SecureContext {
  const sigalgs = only && ONLY[only];
  const known = contexts.get(sigalgs);
  if (known) return known;
  // No CA is known: the suite looks at the certificate. Whether a client trusts it is another question.
  const context = createSecureContext({ ca: [], ...(sigalgs !== undefined && { sigalgs }) });
  contexts.set(sigalgs, context);
  return context;
}

/**
 * Makes one TLS handshake, as a visitor would, and closes the connection. `name` undefined: the client names no server
 * (no SNI). `only` limits the kinds of keys that the client accepts.
 */
export async function handshake(
  target: { host: string; port: number },
  name: string | undefined,
  only?: KeyKind,
): Promise<HandshakeResult> {
  const options: ConnectionOptions = {
    ...target,
    servername: name ?? '',
    rejectUnauthorized: false,
    secureContext: contextFor(only),
  };
  const result = await tryOnce(options);
  // HAProxy may close the connection during a reload, before the client has read an alert.
  return 'failed' in result && result.failed.includes('ECONNRESET') ? tryOnce(options) : result;
}

function tryOnce(options: ConnectionOptions): Promise<HandshakeResult> {
  return new Promise((resolve) => {
    const socket = connect(options);
    const done = (result: HandshakeResult) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () => done({ certificate: undefined, failed: `no answer within ${TIMEOUT_MS / 1000} s` }),
      TIMEOUT_MS,
    );
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate();
      done(
        certificate ? { certificate } : { certificate: undefined, refused: 'HAProxy sent no certificate' },
      );
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const { code = '' } = error;
      if (code.startsWith('ERR_SSL') && !NOT_TLS.test(code)) done({ certificate: undefined, refused: code });
      else done({ certificate: undefined, failed: `${code} ${messageOf(error)}`.trim() });
    });
  });
}
