import { Injectable } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { callContext } from '../contract/call-context.js';
import { AppError } from '../errors/app-error.js';
import { linkOperation, type DeclaredOperation, operationOf } from '../contract/operation.js';
import { recordedArguments } from '../contract/recorded-arguments.js';
import { AuditRecorder } from './audit-recorder.js';

/** Names in the audit log that no operation has: jobs of the suite itself, and its start. */
const INTERNAL_NAMES = ['haproxy_renew_scheduled', 'start', 'internal'];

type Method = (input?: object) => Promise<unknown>;

/**
 * Wraps every service method that is an operation and changes something, so that calls from REST, MCP and schedules are
 * recorded in the same way. Jobs outlive the call and record themselves (JobsService).
 */
@Injectable()
export class AuditedOperations {
  /** The names of the operations that have lines in the audit log, by each name that a caller can give. */
  readonly #names = new Map<string, string>(INTERNAL_NAMES.map((name) => [name, name]));

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly recorder: AuditRecorder,
  ) {}

  /** Called once, before McpCatalogue collects the tools. */
  install(): void {
    const instances = this.discovery.getProviders().map((wrapper) => wrapper.instance as unknown);
    for (const service of new Set(instances)) {
      if (typeof service !== 'object' || service === null) continue;
      for (const name of this.scanner.getAllMethodNames(Object.getPrototypeOf(service) as object)) {
        const method: unknown = Reflect.get(service, name);
        const operation = typeof method === 'function' ? operationOf(method) : undefined;
        if (operation && !operation.readOnly) this.#addNames(operation);
        if (operation && !operation.readOnly && !operation.runsAsJob)
          Object.defineProperty(service, name, {
            value: this.#withRecord(operation, (method as Method).bind(service)),
          });
      }
    }
  }

  /** The name in the audit log; undefined if no change has this name. */
  nameOf(given: string): string | undefined {
    return this.#names.get(given);
  }

  /** The operations that change something, by operationId. */
  get ids(): string[] {
    return [...this.#names.keys()].filter((name) => !name.startsWith('haproxy_')).toSorted();
  }

  #addNames({ name, id }: DeclaredOperation): void {
    for (const known of [name, name.replace(/^haproxy_/, ''), id]) this.#names.set(known, name);
  }

  #withRecord(operation: DeclaredOperation, method: Method): Method {
    const recorded: Method = (input) => {
      const isDryRun = input !== undefined && 'dry_run' in input && input.dry_run === true;
      if (isDryRun) return method(input);
      // Callers that may only read reach this method for a dry run. This holds even if a route lost the argument.
      if (callContext().role === 'read') return Promise.reject(mayOnlyRead());
      const given = recordedArguments(operation.input, input);
      return this.recorder.record(operation.name, given, () => method(input));
    };
    linkOperation(recorded, operation);
    return recorded;
  }
}

function mayOnlyRead(): AppError {
  return new AppError(
    'forbidden',
    'This token may only read. Use the admin token (MCP_TOKEN) for this call.',
  );
}
