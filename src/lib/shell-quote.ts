const PLAIN = /^[A-Za-z0-9._/@%+:=,-]+$/;

/** A word for a shell. Names of files and of certificates come from others and can hold any character. Pure. */
export function quote(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
