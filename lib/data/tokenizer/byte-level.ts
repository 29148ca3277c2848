/**
 * GPT-2's alphabet: one printable character for each of the 256 bytes, so that a byte-level vocabulary can be written
 * as JSON. Bytes that are printable in Latin-1 stand for themselves, the others follow from U+0100 on.
 */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
})();

const CHARACTER_BYTES = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

/** The UTF-8 bytes of `text` in the byte alphabet: 'é x' is 'Ã©Ġx'. */
export function toByteCharacters(text: string): string {
  let characters = '';
  for (const byte of Buffer.from(text, 'utf8')) characters += BYTE_CHARACTERS[byte];
  return characters;
}

/** The bytes that a token of a byte-level vocabulary stands for; a token with a character of no byte is plain text. */
export function fromByteCharacters(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let at = 0; at < token.length; at++) {
    const byte = CHARACTER_BYTES.get(token[at]!);
    if (byte === undefined) return Buffer.from(token, 'utf8');
    bytes[at] = byte;
  }
  return bytes;
}
