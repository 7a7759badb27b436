import { Injectable } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { linkOperation, type DeclaredOperation, operationOf } from '../contract/operation.js';
import { recordedArguments } from '../contract/recorded-arguments.js';
import { AuditRecorder } from './audit-recorder.js';

type Method = (input?: object) => Promise<unknown>;

/**
 * Wraps every service method that is an operation and changes something, so that calls from REST, MCP and schedules are
 * recorded in the same way. Jobs outlive the call and record themselves (JobsService).
 */
@Injectable()
export class AuditedOperations {
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
        if (operation && !operation.readOnly && !operation.runsAsJob)
          Object.defineProperty(service, name, {
            value: this.#withRecord(operation, (method as Method).bind(service)),
          });
      }
    }
  }

  #withRecord(operation: DeclaredOperation, method: Method): Method {
    const recorded: Method = (input) => {
      const isDryRun = input !== undefined && 'dry_run' in input && input.dry_run === true;
      if (isDryRun) return method(input);
      const given = recordedArguments(operation.input, input);
      return this.recorder.record(operation.name, given, () => method(input));
    };
    linkOperation(recorded, operation);
    return recorded;
  }
}
