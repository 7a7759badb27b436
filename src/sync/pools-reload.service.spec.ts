import { describe, expect, it } from 'vitest';
import { tempHome } from '../../test/kit/temp-home.js';
import type { HaproxyControlService } from '../haproxy/process/haproxy-control.service.js';
import type { PersistenceService } from '../persistence/persistence.service.js';
import { loadSettings } from '../settings/settings.js';
import type { HaproxyReloadService } from './haproxy-reload.service.js';
import { PoolsReloadService } from './pools-reload.service.js';

describe('PoolsReloadService.check', () => {
  const refusal = async (output: (candidate: string) => string) => {
    const home = await tempHome();
    const control = {
      checkWith: async ({ pools }: { pools: string }) => ({ valid: false, output: output(pools) }),
    } as unknown as HaproxyControlService;
    const service = new PoolsReloadService(
      { useReloader: () => undefined } as unknown as PersistenceService,
      control,
      {} as HaproxyReloadService,
      loadSettings({ HAPROXY_HOME: home.path }),
    );
    try {
      return await service.check('').catch((error: unknown) => error);
    } finally {
      await home.remove();
    }
  };

  it('names the file if another file than pools.cfg has the error', async () => {
    const error = await refusal(
      (candidate) =>
        `[NOTICE]   (1) : config : ${candidate}\n[ALERT]    (1) : config : parsing [/h/haproxy.cfg:9] : unknown keyword 'nonsense'\n`,
    );
    expect(error).toMatchObject({
      code: 'haproxy_rejected',
      detail: expect.stringContaining('/h/haproxy.cfg:9') as string,
    });
  });

  it('refuses the options if pools.cfg has the error', async () => {
    const error = await refusal(
      (candidate) => `[ALERT]    (1) : config : parsing [${candidate}:9] : unknown fetch method 'x'\n`,
    );
    expect(error).toMatchObject({
      code: 'validation_failed',
      detail: expect.stringContaining('unknown fetch') as string,
    });
  });
});
