import { describe, expect, it } from 'vitest';
import { explainFailure } from './acme-errors.js';

const explain = (output: string) => explainFailure({ domain: 'example.com', server: 'google', output });

describe('why acme.sh failed', () => {
  it.each([
    [
      '[Mon Nov 23 14:00:00 UTC 2026] Create new order error. Le_OrderFinalize not found. {"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates already issued for: example.com","status":429}',
      'limit on how often',
      '"too many certificates already issued for: example.com"',
    ],
    [
      '[Mon Nov 23 14:00:00 UTC 2026] Cannot find DNS API hook for: dns_nix\n[Mon Nov 23 14:00:00 UTC 2026] You need to add the TXT record manually.',
      'no such DNS hook',
      '"Cannot find DNS API hook for: dns_nix"',
    ],
    ['[Mon Nov 23 14:00:00 UTC 2026] invalid domain', 'found no zone', 'CF_Token'],
    [
      '[Mon Nov 23 14:00:00 UTC 2026] Please refer to https://curl.haxx.se/libcurl/c/libcurl-errors.html for error code: 7',
      'cannot be reached',
      'ACME_SERVER',
    ],
    [
      '[Mon Nov 23 14:00:00 UTC 2026] Invalid status. Verification error details: {"detail": "No TXT record found at _acme-challenge.example.com"}',
      'did not accept it',
      'No TXT record found',
    ],
    ['', 'acme.sh failed', 'no reason'],
  ])('%s', (output, what, words) => {
    const error = explain(output);
    expect(error).toMatchObject({ code: 'acme_failed', detail: expect.stringContaining(what) });
    expect(error.detail).toContain(words);
    expect(error.detail).toContain('What is served is unchanged.');
  });
});
