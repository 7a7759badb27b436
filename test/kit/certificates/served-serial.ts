import { connect } from 'node:tls';

/** The serial number of the certificate that a server sends for this name; undefined if the handshake fails. */
export function servedSerial(name: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, servername: name, rejectUnauthorized: false });
    const done = (serial: string | undefined) => {
      socket.destroy();
      resolve(serial);
    };
    socket.once('secureConnect', () => done(socket.getPeerCertificate().serialNumber));
    socket.once('error', () => done(undefined));
  });
}
