/** C0 and C1 control characters, and the characters that change the direction of text (Unicode, UAX 9). */
const UNSAFE = /[\p{Cc}\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/gu;
const UNSAFE_IN_JSON = /[\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;

/**
 * Makes control characters visible, such as \u001B of an escape sequence. Texts of the state and of HAProxy could
 * otherwise change what the terminal shows.
 */
export function visible(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** As `visible`, for a text of several lines. */
export function visibleLines(text: string): string {
  return text.split('\n').map(visible).join('\n');
}

/** As `visible`, for JSON text. JSON has no other control characters than line ends, and the result is equal JSON. */
export function visibleJson(text: string): string {
  return text.replace(UNSAFE_IN_JSON, escaped);
}

function escaped(character: string): string {
  return `\\u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}
