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
    const spelled = this.tokenizer.idToToken(id);
    if (spelled === null) return `token_id:${id}`;
    const text = this.tokenizer.decode([...this.before, id]);
    const own = text.startsWith(this.beforeText) ? text.slice(this.beforeText.length) : '';
    return own === '' || own.includes('\uFFFD') ? spelled : own;
  }
}
