/**
 * The sum of a 64-bit hash of each text, so a change of one text updates it in the time of that text, and the order of the
 * texts does not count. No protection against somebody who wants two sums to be equal.
 */
export class TextSum {
  constructor(
    private high = 0,
    private low = 0,
  ) {}

  copy(): TextSum {
    return new TextSum(this.high, this.low);
  }

  replace(before: string | undefined, after: string | undefined): void {
    this.add(-1, before);
    this.add(1, after);
  }

  add(sign: 1 | -1, text: string | undefined): void {
    if (text === undefined) return;
    const [high, low] = hashOf(text);
    this.high = (this.high + sign * high) >>> 0;
    this.low = (this.low + sign * low) >>> 0;
  }

  /** 16 hexadecimal digits. */
  toString(): string {
    return [this.high, this.low].map((part) => part.toString(16).padStart(8, '0')).join('');
  }
}

/** cyrb53 (public domain), with both of its 32-bit halves. */
function hashOf(text: string): [high: number, low: number] {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return [high >>> 0, low >>> 0];
}
