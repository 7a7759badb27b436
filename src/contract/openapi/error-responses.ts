import { HttpStatus } from '@nestjs/common';
import { getSchemaPath, type OpenAPIObject } from '@nestjs/swagger';
import { AppError, ERROR_CATALOGUE, ERROR_CODES, type ErrorCode } from '../../errors/app-error.js';
import { PROBLEM_JSON, ProblemDto } from '../problems/problem.dto.js';

type Responses = NonNullable<NonNullable<OpenAPIObject['components']>['responses']>;
type Response = Exclude<Responses[string], { $ref: string }>;

/** Headers of an error response, by status. `problem.filter.ts` sets them. */
const HEADERS: Partial<Record<number, Response['headers']>> = {
  401: {
    'WWW-Authenticate': { description: 'The way to sign in: Bearer.', schema: { type: 'string' } },
  },
};

/** The error responses of all operations, one for each status of the catalogue, by name: `NotFound` for 404. */
export function errorResponses(): Record<string, Response> {
  return Object.fromEntries(
    [...groupByStatus(ERROR_CODES)].map(([status, codes]) => [
      nameOf(status),
      {
        description: describe(codes),
        ...(HEADERS[status] && { headers: HEADERS[status] }),
        content: {
          [PROBLEM_JSON]: {
            schema: { $ref: getSchemaPath(ProblemDto) },
            examples: Object.fromEntries(codes.map((code) => [code, exampleOf(code)])),
          },
        },
      },
    ]),
  );
}

/** The error responses of one operation: by status, a reference to the response and the codes of the operation. */
export function errorReferences(codes: Iterable<ErrorCode>): [status: number, reference: { $ref: string }][] {
  return [...groupByStatus(codes)].map(([status, group]) => [
    status,
    // OpenAPI 3.1 lets a reference have a description of its own.
    { $ref: `#/components/responses/${nameOf(status)}`, description: describe(group) },
  ]);
}

function describe(codes: readonly ErrorCode[]): string {
  return codes.map((code) => `\`${code}\`: ${ERROR_CATALOGUE[code].title}.`).join(' ');
}

function exampleOf(code: ErrorCode): { summary: string; value: object } {
  const { title } = ERROR_CATALOGUE[code];
  return { summary: title, value: new AppError(code, `${title}.`).toProblem() };
}

/** 507 → `InsufficientStorage`. */
function nameOf(status: number): string {
  const name: string | undefined = HttpStatus[status];
  if (name === undefined) return `Status${status}`;
  return name
    .split('_')
    .map((word) => word.charAt(0) + word.slice(1).toLowerCase())
    .join('');
}

function groupByStatus(codes: Iterable<ErrorCode>): Map<number, ErrorCode[]> {
  const wanted = new Set(codes);
  const groups = new Map<number, ErrorCode[]>();
  for (const code of ERROR_CODES.filter((known) => wanted.has(known))) {
    const { status } = ERROR_CATALOGUE[code];
    groups.set(status, [...(groups.get(status) ?? []), code]);
  }
  return groups;
}
