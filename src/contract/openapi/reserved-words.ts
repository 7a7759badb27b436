/**
 * Words that a generated client cannot use as the name of a function: keywords of TypeScript, Python, Go and Java that
 * could be the name of an operation.
 */
const RESERVED = new Set(
  (
    'abstract and any as assert async await boolean break byte case catch chan char class const continue debugger def ' +
    'default defer del delete do double elif else enum except export extends fallthrough false final finally float for ' +
    'from func function global go goto if implements import in instanceof int interface is lambda let long map match ' +
    'native new none nonlocal not null or package pass private protected public raise range return select short static ' +
    'struct super switch this throw throws transient true try type typeof var void volatile while with yield'
  ).split(' '),
);

/** @throws Error if the id of an operation is a reserved word */
export function checkOperationId(id: string): void {
  if (RESERVED.has(id))
    throw new Error(`The operation id ${id} is a reserved word of a language with generated clients.`);
}
