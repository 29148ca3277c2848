import { fromByteCharacters } from '../../data/tokenizer/byte-level.js';
import { BYTE_TOKEN } from '../../data/tokenizer/token-decoder.js';
import type { Tokenizer } from '../../data/tokenizer.js';

/** How single tokens are written in answers: each in its own way, so that no two are confused. */
export class TokenText {
  private readonly before: number[];
  private readonly beforeText: string;

  constructor(private readonly tokenizer: Tokenizer) {
    // Some tokenizers drop the space that a text begins with: tokens are read behind another one.
    this.before = tokenizer.encode('a', { specials: false });
    this.beforeText = tokenizer.decode(this.before);
  }

  /** Its text; as the vocabulary spells it where it is part of a character, and by its number where there is none. */
  of(id: number): string {
    return this.decoded(id) ?? this.tokenizer.idToToken(id) ?? `token_id:${id}`;
  }

  /** The UTF-8 bytes that it adds to a text, also where they are part of a character; null where it has no text. */
  bytesOf(id: number): number[] | null {
    const text = this.decoded(id);
    if (text !== undefined) return [...Buffer.from(text)];
    const spelled = this.tokenizer.idToToken(id);
    if (spelled === null) return null;
    const byte = BYTE_TOKEN.exec(spelled)?.[1];
    return byte === undefined ? [...fromByteCharacters(spelled)] : [Number.parseInt(byte, 16)];
  }

  /** Its text, where it has one of its own. */
  private decoded(id: number): string | undefined {
    if (this.tokenizer.idToToken(id) === null) return undefined;
    const text = this.tokenizer.decode([...this.before, id]);
    const own = text.startsWith(this.beforeText) ? text.slice(this.beforeText.length) : '';
    return own === '' || own.includes('\uFFFD') ? undefined : own;
  }
}
