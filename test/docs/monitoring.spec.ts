import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { load as parse } from 'js-yaml';
import { askRuntimeApi } from '../kit/ask-runtime-api.js';
import { makeCertificate } from '../kit/certificates/certificates.js';
import { freePort } from '../kit/free-port.js';
import { haproxyVersions } from '../kit/haproxy/haproxy-versions.js';
import { until } from '../kit/poll.js';
import { makeHome, Suite } from '../kit/suite/suite.js';
import { toolPath } from '../kit/tool-path.js';
import { type Backend, startBackend } from '../kit/traffic/backend.js';
import { get } from '../kit/traffic/request.js';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const SHIPPED = join(ROOT, 'deploy/observability');
const shipped = (name: string) => readFile(join(SHIPPED, name), 'utf8');

interface Panel {
  title: string;
  type: string;
  targets?: { expr: string; legendFormat: string }[];
}
interface Dashboard {
  panels: Panel[];
  templating: { list: { name: string; query: string | { query: string } }[] };
}
interface Rule {
  alert: string;
  expr: string;
}

const rulesOf = async (): Promise<Rule[]> => {
  const { groups } = parse(await shipped('alerts.yml')) as { groups: { rules: Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
};
const dashboard = async () => JSON.parse(await shipped('dashboard.json')) as Dashboard;

describe('deploy/observability', () => {
  it('has alert rules that promtool accepts, and the unit tests of each pass', async () => {
    await run(toolPath('promtool'), ['check', 'rules', '--lint-fatal', 'alerts.yml'], { cwd: SHIPPED });
    await run(toolPath('promtool'), ['check', 'config', '--syntax-only', 'prometheus.yml'], { cwd: SHIPPED });
    const { stdout } = await run(toolPath('promtool'), ['test', 'rules', 'alerts.test.yml'], {
      cwd: SHIPPED,
    });
    expect(stdout).toContain('SUCCESS');
  });

  it('has a unit test in which each alert fires, and a word about each in docs/monitoring.md', async () => {
    interface UnitTests {
      tests: { alert_rule_test: { alertname: string; exp_alerts?: unknown[] }[] }[];
    }
    const { tests } = parse(await shipped('alerts.test.yml')) as UnitTests;
    const firing = tests.flatMap(({ alert_rule_test }) => alert_rule_test).filter((one) => one.exp_alerts);
    const rules = await rulesOf();
    expect(new Set(firing.map(({ alertname }) => alertname))).toEqual(
      new Set(rules.map(({ alert }) => alert)),
    );
    const page = await readFile(join(ROOT, 'docs/monitoring.md'), 'utf8');
    for (const { alert } of rules) expect(page).toContain(`\`${alert}\``);
  });

  // Grafana itself is not in Debian. Its types are in the npm package @grafana/schema.
  it("has a dashboard that fits Grafana's own types", async () => {
    expect(typeErrors(await shipped('dashboard.json'))).toEqual([]);
  });

  it('has panels that do not overlap, with queries on the chosen data source', async () => {
    const { panels, templating } = JSON.parse(await shipped('dashboard.json')) as {
      panels: { id: number; gridPos: { x: number; y: number; w: number; h: number } }[];
      templating: Dashboard['templating'];
    };
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, n) => `${x + (n % w)},${y + Math.floor(n / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(templating.list.map(({ name }) => name)).toEqual(['datasource', 'instance', 'domain']);
    const uids = [...(await shipped('dashboard.json')).matchAll(/"uid": "([^"]+)"/g)].map(([, uid]) => uid);
    expect(new Set(uids)).toEqual(new Set(['${datasource}', 'haproxy-suite']));
  });
});

/** The errors of TypeScript if the dashboard has the type of Grafana, with the texts of enums as JSON has them. */
function typeErrors(json: string): string[] {
  const cfg = '@grafana/schema/dist/esm/raw/composable';
  const source = `
    import type { Dashboard, FieldConfig, Panel, RowPanel } from '@grafana/schema';
    import type * as Stat from '${cfg}/stat/panelcfg/x/StatPanelCfg_types.gen';
    import type * as Table from '${cfg}/table/panelcfg/x/TablePanelCfg_types.gen';
    import type * as Series from '${cfg}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
    type Json<T> = unknown extends T ? T : T extends string ? \`\${T}\` : T extends number | boolean ? T
      : T extends readonly (infer E)[] ? Json<E>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
    type Of<Name extends string, Options, Fields = Record<string, never>> =
      Omit<Json<Panel>, 'type' | 'options' | 'fieldConfig'> & { type: Name; options: Json<Partial<Options>>; fieldConfig: {
        defaults: Omit<Json<FieldConfig>, 'custom'> & { custom?: Json<Partial<Fields>> };
        overrides: Json<NonNullable<Panel['fieldConfig']>['overrides']> } };
    type Panels = Of<'stat', Stat.Options> | Of<'table', Table.Options, Table.FieldConfig>
      | Of<'timeseries', Series.Options, Series.FieldConfig> | Json<RowPanel>;
    export const dashboard: Json<Omit<Dashboard, 'panels'>> & { panels: Panels[] } = ${json};
    // @ts-expect-error The types refuse a field that a panel does not have.
    export const wrong: Panels = { type: 'timeseries', options: {}, fieldConfig: { defaults: { custom: { drawStile: 'line' } }, overrides: [] } };
  `;
  const file = join(ROOT, 'test/docs/dashboard.virtual.ts');
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    target: ts.ScriptTarget.ES2023,
  };
  const host = ts.createCompilerHost(options);
  const fileExists = host.fileExists.bind(host);
  const getSourceFile = host.getSourceFile.bind(host);
  host.fileExists = (name) => name === file || fileExists(name);
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2023) : getSourceFile(name, ...rest);
  const program = ts.createProgram([file], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ messageText, start, file: where }) => {
    const line = where && start !== undefined ? where.getLineAndCharacterOfPosition(start).line : 0;
    return `line ${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

interface Sample {
  metric: Record<string, string>;
  value: [number, string];
}

/** One suite with its HAProxy for each version, and one Prometheus that scrapes all with the shipped files. */
describe('Prometheus with the shipped files and real suites', () => {
  const versions = haproxyVersions();
  let folder: string;
  let prometheus: ChildProcess;
  let url: string;
  let backend: Backend;
  const suites = new Map<string, { suite: Suite; exporter: number; sick: Backend }>();

  const query = async (expr: string): Promise<Sample[]> => {
    const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`);
    const body = (await response.json()) as { status: string; error?: string; data?: { result: Sample[] } };
    if (!body.data) throw new Error(`${expr}: ${body.error}`);
    return body.data.result;
  };
  /** The instances, which are the HAProxy versions, that have a value for this expression. */
  const instancesWith = async (expr: string) =>
    (await query(expr))
      .filter(({ value }) => value[1] !== 'NaN')
      .map(({ metric }) => metric['instance'])
      .filter((instance) => instance !== undefined);
  const load = () =>
    Promise.all(
      [...suites.values()].map(async ({ suite }) => {
        await get(suite.home.httpPort, 'fine.example');
        const answer = await suite.api('POST', '/domains', { domain: 'x.example', ip: '127.0.0.1' });
        expect([201, 409]).toContain(answer.status);
        await suite.api('DELETE', '/domains/x.example');
      }),
    );

  beforeAll(async () => {
    backend = await startBackend('one');
    folder = await mkdtemp(join(tmpdir(), 'hs-prom-'));
    const { pem } = await makeCertificate(folder, { names: ['fine.example'], days: 90 });
    await Promise.all(
      versions.map(async (haproxy) => {
        const exporter = await freePort();
        const home = await makeHome(haproxy, { HAPROXY_METRICS_BIND: `127.0.0.1:${exporter}` });
        await writeFile(join(home.path, 'certs/fine.example.pem'), pem);
        const suite = await Suite.start(home);
        const sick = await startBackend('sick');
        suites.set(haproxy.version, { suite, exporter, sick });
        for (const [domain, { port }] of [
          ['fine.example', backend],
          ['sick.example', sick],
          ['maint.example', backend],
        ] as const)
          await suite.api('POST', '/domains', { domain, ip: '127.0.0.1', http_port: port });
        await suite.api('PUT', '/domains/maint.example/state', { state: 'maint' });
        // A difference that the health request finds and the suite repairs.
        await askRuntimeApi(home.env['HAPROXY_SOCKET'] ?? '', 'set server pool_1/pool_1_1 weight 7');
        await suite.api('GET', '/health');
      }),
    );
    await writeFile(join(folder, 'prometheus.yml'), await configuration());
    await cp(join(SHIPPED, 'alerts.yml'), join(folder, 'alerts.yml'));
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    await mkdir(join(folder, 'data'));
    prometheus = spawn(
      toolPath('prometheus'),
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=error',
      ],
      { stdio: 'ignore' },
    );
    await until(
      async () => (await instancesWith('up == 1')).length === 2 * versions.length && (await load(), true),
      { what: 'both targets of each suite' },
    );
  });

  afterAll(async () => {
    prometheus?.kill();
    await Promise.all(
      [...suites.values()].map(async ({ suite, sick }) => {
        await suite.stop();
        await sick.close();
        await suite.home.remove();
      }),
    );
    await backend?.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  /** The shipped scrape configuration with the targets of this test. */
  async function configuration(): Promise<string> {
    interface Job {
      job_name: string;
      authorization?: { credentials_file: string };
      static_configs: { targets: string[]; labels: { instance: string } }[];
    }
    const config = parse(await shipped('prometheus.yml')) as {
      global: Record<string, string>;
      scrape_configs: Job[];
    };
    config.global = { scrape_interval: '1s', evaluation_interval: '1s' };
    expect(config.scrape_configs.map(({ job_name }) => job_name)).toEqual(['haproxy-suite', 'haproxy']);
    const [suiteJob, haproxyJob] = config.scrape_configs as [Job, Job];
    // Each suite has a token of its own, so it gets a job of its own; the label `job` stays.
    const suiteJobs = await Promise.all(
      [...suites].map(async ([version, { suite }]) => {
        const file = join(folder, `token-${version}`);
        await writeFile(file, await suite.token());
        return {
          ...suiteJob,
          job_name: `haproxy-suite-${version}`,
          authorization: { credentials_file: file },
          static_configs: [
            {
              targets: [`127.0.0.1:${suite.home.apiPort}`],
              labels: { instance: version, job: 'haproxy-suite' },
            },
          ],
        };
      }),
    );
    const exporters = [...suites].map(([version, { exporter }]) => ({
      targets: [`127.0.0.1:${exporter}`],
      labels: { instance: version },
    }));
    return JSON.stringify({
      ...config,
      scrape_configs: [...suiteJobs, { ...haproxyJob, static_configs: exporters }],
    });
  }

  it('every query of the dashboard has data of each HAProxy version', async () => {
    const { panels, templating } = await dashboard();
    const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));
    for (const { name, query } of templating.list)
      if (typeof query === 'object') queries.push({ title: `$${name}`, expr: labelValuesQuery(query.query) });
    expect(queries.length).toBeGreaterThan(30);
    for (const { title, expr } of queries) {
      const filled = expr
        .replaceAll('$__rate_interval', '15s')
        .replaceAll('$instance', '.*')
        .replaceAll('$domain', '.*');
      await until(
        async () => {
          const instances = new Set(await instancesWith(filled));
          if (versions.every(({ version }) => instances.has(version))) return true;
          await load();
          return false;
        },
        { timeout: 20_000, interval: 200, what: `data of the panel ${title}: ${filled}` },
      );
    }
  });

  it('panels of sites show domain names', async () => {
    const panel = (await dashboard()).panels.find(({ title }) => title === 'Requests by domain');
    const expr = panel?.targets?.[0]?.expr.replaceAll('$__rate_interval', '15s') ?? '';
    const found = await query(expr.replaceAll('$instance', '.*').replaceAll('$domain', 'fine.example'));
    expect(found.map(({ metric }) => metric['domain'])).toEqual(versions.map(() => 'fine.example'));
    expect(found.some(({ value }) => Number(value[1]) > 0)).toBe(true);
  });

  it('every metric and label that a rule reads is exported', async () => {
    const selectors = new Set<string>();
    for (const { expr } of await rulesOf())
      for (const [selector] of expr.matchAll(/\b(?:up|haproxy_[a-z_]+)\b(?:\{[^}]*\})?/g))
        selectors.add(selector);
    expect(selectors.size).toBeGreaterThan(25);
    for (const selector of selectors) {
      // The values of `outcome` are error codes, and the version is that of a later HAProxy: only the label is needed.
      const read = selector.replace(/(outcome|version)=~"[^"]*"/, '$1!=""');
      expect(new Set(await instancesWith(read)), read).toEqual(
        new Set(versions.map(({ version }) => version)),
      );
    }
  });

  it('a domain whose server stops is named by HaproxyDomainDown, and one in maintenance is not', async () => {
    const rules = await rulesOf();
    const expr = (name: string) => rules.find(({ alert }) => alert === name)?.expr ?? '';
    expect(await query(expr('HaproxyDomainDown'))).toEqual([]);
    await Promise.all([...suites.values()].map(({ sick }) => sick.close()));
    const down = await until(
      async () => {
        const found = await query(expr('HaproxyDomainDown'));
        return found.length >= versions.length && found;
      },
      { what: 'the domains that are down' },
    );
    expect(new Set(down.map(({ metric }) => `${metric['instance']} ${metric['domain']}`))).toEqual(
      new Set(versions.map(({ version }) => `${version} sick.example`)),
    );
    expect(new Set(await instancesWith(expr('HaproxyServerDown')))).toEqual(
      new Set(versions.map(({ version }) => version)),
    );
    // The suite itself is counted as well, and the named alert suppresses the other one.
    expect(await query(expr('HaproxyDomainsDown'))).toEqual([]);
    const response = await fetch(`${url}/api/v1/alerts`);
    interface Alert {
      state: string;
      labels: { alertname: string };
    }
    const { data } = (await response.json()) as { data: { alerts: Alert[] } };
    const firing = data.alerts.filter(({ state }) => state === 'firing');
    expect(new Set(firing.map(({ labels }) => labels.alertname))).toEqual(new Set(['HaproxySuiteHeartbeat']));
  });
});

/** `label_values(metric{…}, label)` of a Grafana variable as a query of Prometheus. */
function labelValuesQuery(definition: string): string {
  const { metric = '', label = '' } =
    /^label_values\((?<metric>.+), (?<label>\w+)\)$/.exec(definition)?.groups ?? {};
  return `count by (instance, ${label}) (${metric})`;
}
