import { Injectable } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { linkOperation, type DeclaredOperation, operationOf } from '../contract/operation.js';
import { recordedArguments } from '../contract/recorded-arguments.js';
import { AuditRecorder } from './audit-recorder.js';

type Method = (input?: object) => Promise<unknown>;

/**
 * Puts the audit log around every service method that is declared as an operation and changes something, so that
 * REST, MCP and a schedule go through the same recording whoever calls. Long work, which outlives the call, records
 * itself (JobsService).
 */
@Injectable()
export class AuditedOperations {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly recorder: AuditRecorder,
  ) {}

  /** Done once, when the application is built and before the tools are looked for. */
  install(): void {
    const instances = this.discovery.getProviders().map((wrapper) => wrapper.instance as unknown);
    for (const service of new Set(instances)) {
      if (typeof service !== 'object' || service === null) continue;
      for (const name of this.scanner.getAllMethodNames(Object.getPrototypeOf(service) as object)) {
        const method: unknown = Reflect.get(service, name);
        const operation = typeof method === 'function' ? operationOf(method) : undefined;
        if (operation && !operation.readOnly && !operation.longWork)
          Object.defineProperty(service, name, {
            value: this.#recorded(operation, (method as Method).bind(service)),
          });
      }
    }
  }

  #recorded(operation: DeclaredOperation, method: Method): Method {
    const recorded: Method = (input) => {
      const isDryRun = input !== undefined && 'dry_run' in input && input.dry_run === true;
      if (isDryRun) return method(input);
      const given = recordedArguments(operation.input, input);
      return this.recorder.run(operation.name, given, () => method(input));
    };
    linkOperation(recorded, operation);
    return recorded;
  }
}
