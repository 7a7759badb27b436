import type { Operation } from './notes.js';

const EXAMPLE = '"0f3b5c7d9e1a2b4c6d8f0a1c"';

const ETAG = {
  description: 'The field etag of the answer, in double quotes.',
  schema: { type: 'string', example: EXAMPLE },
} as const;

/** Adds the headers of preconditions (RFC 9110, section 13.1) to an operation, and the ETag to its answers. */
export function addPreconditions(
  method: string,
  operation: Operation,
  { answersEtag = false, conditional = false }: { answersEtag?: boolean; conditional?: boolean },
): void {
  if (answersEtag)
    for (const status of ['200', '201']) {
      const response = operation.responses[status];
      if (response && !('$ref' in response)) response.headers = { ...response.headers, ETag: ETAG };
    }
  const reads = method === 'get' && answersEtag;
  if (conditional)
    addHeader(
      operation,
      'If-Match',
      'Only if the domain has one of these ETags; `*`: only if it exists. Else 412.',
    );
  if (conditional && operation.responses['201'] && method === 'put')
    addHeader(operation, 'If-None-Match', '`*`: only if the domain does not exist yet. Else 412.', '*');
  if (!reads) return;
  addHeader(
    operation,
    'If-None-Match',
    'If the domain has one of these ETags, the answer is 304 without a body.',
  );
  operation.responses['304'] = {
    description: 'The saved values are those of the ETag.',
    headers: { ETag: ETAG },
  };
}

function addHeader(operation: Operation, name: string, description: string, example = EXAMPLE): void {
  const schema = { type: 'string', example } as const;
  operation.parameters = [...(operation.parameters ?? []), { name, in: 'header', description, schema }];
}
