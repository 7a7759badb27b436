import { Injectable } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';

export interface DeclaredMethod<T> {
  declared: T;
  call: (...given: unknown[]) => Promise<unknown>;
}

/** Finds the service methods that carry a declaration of ours, so that features need to know nothing of MCP. */
@Injectable()
export class DeclaredMethods {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
  ) {}

  find<T>(declarationOf: (method: object) => T | undefined): DeclaredMethod<T>[] {
    const services = this.discovery
      .getProviders()
      .map((wrapper) => wrapper.instance as unknown)
      .filter((instance): instance is object => typeof instance === 'object' && instance !== null);
    return [...new Set(services)].flatMap((service) =>
      this.scanner.getAllMethodNames(Object.getPrototypeOf(service) as object).flatMap((name) => {
        const method: unknown = Reflect.get(service, name);
        const declared = typeof method === 'function' ? declarationOf(method) : undefined;
        if (typeof method !== 'function' || declared === undefined) return [];
        const call = async (...given: unknown[]) => Reflect.apply(method, service, given) as unknown;
        return [{ declared, call }];
      }),
    );
  }
}
