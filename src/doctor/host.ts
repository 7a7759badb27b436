import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_PATH, findProgram } from '../certificates/acme/acme-script.js';
import { messageOf } from '../errors/app-error.js';
import { QUADLET } from '../haproxy/config/config-file.js';
import { type ConfigSection, parseConfig } from '../haproxy/config/config-parser.js';
import { readTextIfPresent } from '../haproxy/config/operator-config.js';
import { HaproxyRuntimeService } from '../haproxy/haproxy-runtime.service.js';
import type { HaproxyInfo } from '../haproxy/parsers/info.parser.js';
import type { HaproxyProcesses } from '../haproxy/parsers/proc.parser.js';
import { MasterCli } from '../haproxy/process/master-cli.js';
import { areOfOtherNamespace, parentOf } from '../haproxy/process/os-process.js';
import { runProgram } from '../haproxy/process/run-program.js';
import { userName } from '../lib/machine/users.js';
import { parseMapFile } from '../storage/formats/domains-map.js';
import { domainOfMapKey } from '../model/names/domain-name.js';
import type { AcmeSettings } from '../settings/acme-settings.js';
import type { Environment } from '../settings/parse.js';
import type { Settings } from '../settings/settings.js';
import { NotRun } from './finding.js';
import { Mending } from './mending.js';
import { isSuite, workingFolderOf } from './facts/environment.js';
import { type SuiteAnswers, askSuite } from './facts/suite-answers.js';
import { shellVariables } from './facts/shell-variables.js';
import { untrustedPart } from './facts/trusted-path.js';
import { environmentFiles, type Unit } from './facts/units.js';
import { type HostUser, presenceOf, userByName, userOfProcess } from './facts/users.js';

const PROGRAM_LIMIT_MS = 4_000;

export interface DoctorOptions {
  /** Only these domains are looked up; undefined for the domains of the suite. */
  domains: readonly string[] | undefined;
  /** The name servers to ask, `IP` or `IP:PORT`; undefined for those of the machine. */
  nameServers: readonly string[] | undefined;
}

interface HostParts {
  settings: Settings;
  /** The environment of the settings. */
  env: Environment;
  /** The PATH of the doctor, which the programs that it starts are found with; undefined if it has none. */
  path: string | undefined;
  options: DoctorOptions;
  /** Undefined if systemd does not run this machine. */
  units: { suite: Unit; haproxy: Unit } | undefined;
  suitePid: number | undefined;
  /** Ends what still runs when the time is over. */
  signal: AbortSignal;
}

/** What a question found, or why there is no answer. */
export type Answer<T> = { ok: true; value: T } | { ok: false; reason: string };

/** The host that the checks ask. Each fact is read once, when the first check asks for it. */
export class Host {
  readonly settings: Settings;
  readonly options: DoctorOptions;
  readonly units: HostParts['units'];
  readonly signal: AbortSignal;
  readonly suitePid: number | undefined;
  readonly runtime: HaproxyRuntimeService;
  readonly master: MasterCli;
  readonly mending: Mending;
  /** The user that runs the doctor. */
  readonly self: HostUser;
  readonly #path: string;

  constructor(parts: HostParts) {
    this.settings = parts.settings;
    this.options = parts.options;
    this.units = parts.units;
    this.signal = parts.signal;
    this.#path = parts.path ?? DEFAULT_PATH;
    this.suitePid = parts.suitePid;
    this.runtime = new HaproxyRuntimeService(this.settings);
    this.master = new MasterCli(this.settings.master);
    const uid = process.getuid?.() ?? 0;
    this.self = userOfProcess('self') ?? {
      name: userName(uid),
      uid,
      gids: new Set(),
      ignoresModes: uid === 0,
      bindsLowPorts: uid === 0,
    };
    this.mending = new Mending({
      settings: this.settings,
      variables: shellVariables(parts.env),
      hasSuiteUnit: this.units?.suite.isLoaded === true,
      hasHaproxyUnit: this.units?.haproxy.isLoaded === true,
      environmentFile: this.environmentFile,
      suitePid: this.suitePid,
    });
  }

  get isRoot(): boolean {
    return this.self.uid === 0;
  }

  /**
   * The settings can come from a file or a process of the user of the suite. Root starts no program that this user could
   * have chosen or changed.
   *
   * @throws NotRun
   */
  async requireTrusted(program: string): Promise<void> {
    if (!this.isRoot) return;
    const path = program.includes('/') ? program : await findProgram(program, this.#path);
    const part = path === undefined ? undefined : await untrustedPart(path);
    if (part !== undefined)
      throw new NotRun(
        `Root does not start ${program}: ${part} does not belong to root, or others can change it.`,
      );
  }

  /**
   * The settings with which the doctor runs curl. For root without what lets curl run or write what another user chose:
   * programs in PATH, `.curlrc`, and variables such as LD_PRELOAD.
   *
   * @throws NotRun
   */
  readonly acme = once(async (): Promise<AcmeSettings> => {
    const { acme } = this.settings;
    if (!this.isRoot) return acme;
    const { HOME: home, PATH: path = DEFAULT_PATH, ...others } = acme.environment;
    const environment = Object.fromEntries(
      Object.entries(others).filter(([name]) => /^(?:SSL_CERT_|CURL_CA_|CF_)|_proxy$/i.test(name)),
    );
    const curl = await findProgram('curl', path);
    if (curl !== undefined) await this.requireTrusted(curl);
    environment['PATH'] = path;
    if (home === undefined) return { ...acme, environment };
    const file = join(home, '.curlrc');
    const part = await untrustedPart(file);
    if (part === undefined) environment['HOME'] = home;
    else if ((await presenceOf(file)) !== 'missing')
      throw new NotRun(
        `Root does not use ${file}: ${part} does not belong to root, or others can change it.`,
      );
    return { ...acme, environment };
  });

  /** The output of `haproxy -vv`. @throws NotRun if the binary does not run, which a check says */
  readonly build = once(async (): Promise<string> => {
    const { haproxyBin } = this.settings;
    await this.requireTrusted(haproxyBin);
    const result = await runProgram(haproxyBin, ['-vv'], PROGRAM_LIMIT_MS).catch(() => undefined);
    if (result?.success !== true) throw new NotRun(`"${haproxyBin} -vv" cannot be run.`);
    return result.output;
  });

  /** `show info`. */
  readonly info = once((): Promise<Answer<HaproxyInfo>> => answerOf(this.runtime.info()));

  /** `show proc`. The value is undefined if nothing listens on the master socket. */
  readonly processes = once((): Promise<Answer<HaproxyProcesses | undefined>> =>
    answerOf(this.master.processes()),
  );

  /** What the suite itself says. */
  readonly suite = once((): Promise<SuiteAnswers> => askSuite(this.settings));

  /** The sections of haproxy.cfg. @throws NotRun */
  readonly sections = once(async (): Promise<readonly ConfigSection[]> => {
    const { config } = this.settings.files;
    return parseConfig(await readTextIfPresent(config).catch(failReading(config)), config);
  });

  /** The domains of `domains.map`, which HAProxy serves. @throws NotRun */
  readonly domains = once(async (): Promise<readonly string[]> => {
    const { map } = this.settings.files;
    const text = await readTextIfPresent(map).catch(failReading(map));
    return parseMapFile(text).map(([key]) => domainOfMapKey(key));
  });

  /** Whether HAProxy is in a container, which has pids and a binary of its own. */
  readonly isInContainer = once(async (): Promise<boolean> => {
    const { control } = this.settings;
    if (control !== 'master') return control === 'podman';
    const [info, processes] = [await this.info(), await this.processes()];
    if (!info.ok || !processes.ok || !processes.value) return existsSync(QUADLET);
    const { master, workers } = processes.value;
    const worker = info.value.pid;
    return workers.includes(worker) && areOfOtherNamespace({ master, worker });
  });

  /** The pid of the HAProxy that reads the files and opens the ports; undefined if it does not run here. */
  readonly masterPid = once(async (): Promise<number | undefined> => {
    if (await this.isInContainer()) return undefined;
    const processes = await this.processes();
    if (processes.ok && processes.value) return processes.value.master;
    const info = await this.info();
    if (!info.ok) return undefined;
    const parent = parentOf(info.value.pid);
    return parent !== undefined && isHaproxy(parent) ? parent : info.value.pid;
  });

  /** The user with which the suite runs, or will run. */
  readonly suiteUser = once(async (): Promise<HostUser> => {
    const running = this.suitePid === undefined ? undefined : userOfProcess(this.suitePid);
    if (running) return running;
    const unit = this.units?.suite;
    if (unit?.isLoaded === true) return userOfUnit(unit) ?? this.self;
    const owner = statSync(this.settings.home, { throwIfNoEntry: false })?.uid;
    return (owner === undefined ? undefined : userByName(String(owner))) ?? this.self;
  });

  /** The user that reads the files of HAProxy and opens its ports; undefined if it is not known. */
  readonly haproxyUser = once(async (): Promise<HostUser | undefined> => {
    const pid = await this.masterPid();
    const running = pid === undefined ? undefined : userOfProcess(pid);
    if (running) return running;
    if (this.settings.control === 'managed') return this.suiteUser();
    const unit = this.units?.haproxy;
    return unit?.isLoaded === true && this.settings.control !== 'podman' ? userOfUnit(unit) : undefined;
  });

  /** The file with the variables of the suite. */
  get environmentFile(): string {
    const unit = this.units?.suite;
    const [ofUnit] = unit?.isLoaded === true ? environmentFiles(unit) : [];
    if (ofUnit !== undefined) return ofUnit;
    const folder = this.suitePid === undefined ? undefined : workingFolderOf(this.suitePid);
    return folder === undefined
      ? join(this.settings.home, unit?.isLoaded === true ? 'conf/suite.env' : '.env')
      : join(folder, '.env');
  }
}

function userOfUnit({ properties }: Unit): HostUser | undefined {
  const ambient = properties.get('AmbientCapabilities') ?? '';
  return userByName(properties.get('User') || 'root', ambient.includes('cap_net_bind_service'));
}

/** Whether the program of the process is HAProxy. A process without a master has another parent. */
function isHaproxy(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('haproxy') && !isSuite(pid);
  } catch {
    return false;
  }
}

/** A reader of a file that this user may not read. */
function failReading(path: string): (failure: unknown) => never {
  return (failure) => {
    const isForbidden = (failure as NodeJS.ErrnoException).code === 'EACCES';
    throw new NotRun(
      isForbidden ? `This user may not read ${path}.` : `${path} cannot be read: ${messageOf(failure)}.`,
      isForbidden,
    );
  };
}

async function answerOf<T>(question: Promise<T>): Promise<Answer<T>> {
  return question.then(
    (value) => ({ ok: true, value }),
    (failure: unknown) => ({ ok: false, reason: messageOf(failure) }),
  );
}

/** Calls `read` at the first call, and returns the same promise afterwards. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => (result ??= read());
}
