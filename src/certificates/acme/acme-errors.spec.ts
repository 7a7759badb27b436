import { describe, expect, it } from 'vitest';
import { acmeFailed } from './acme-errors.js';

describe('acmeFailed', () => {
  it.each([
    [
      '[Mon Nov 23 14:00:00 UTC 2026] Create new order error. Le_OrderFinalize not found. {"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates already issued for: example.com","status":429}',
      'rate limit of the CA is reached',
      '"too many certificates already issued for: example.com"',
    ],
    [
      '[Mon Nov 23 14:00:00 UTC 2026] Cannot find DNS API hook for: dns_nix\n[Mon Nov 23 14:00:00 UTC 2026] You need to add the TXT record manually.',
      'does not have the DNS hook',
      '"Cannot find DNS API hook for: dns_nix"',
    ],
    ['[Mon Nov 23 14:00:00 UTC 2026] invalid domain', 'found no zone', 'CF_Token'],
    [
      '[Mon Nov 23 14:00:00 UTC 2026] Please refer to https://curl.haxx.se/libcurl/c/libcurl-errors.html for error code: 7',
      'cannot reach the CA',
      'ACME_SERVER',
    ],
    [
      '[Mon Nov 23 14:00:00 UTC 2026] Invalid status. Verification error details: {"detail": "No TXT record found at _acme-challenge.example.com"}',
      'did not accept the TXT record',
      'No TXT record found',
    ],
    ['', 'acme.sh failed', 'no reason'],
  ])('gives reason, quote and advice for the output %j', (output, reason, quoteOrAdvice) => {
    const error = acmeFailed({
      domain: 'example.com',
      server: 'google',
      challenge: 'dns-01',
      output,
      log: '',
    });
    expect(error).toMatchObject({ code: 'acme_failed', detail: expect.stringContaining(reason) });
    expect(error.detail).toContain(quoteOrAdvice);
    expect(error.detail).toContain('HAProxy and the certificate files are unchanged.');
  });
});
