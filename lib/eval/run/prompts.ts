import type { Tokenizer } from '../../data/tokenizer.js';
import { BtsError } from '../../errors.js';
import { stripEnd } from '../../python/text.js';

/** Tokens as lm-eval gives them to a model. */
export class PromptEncoder {
  private readonly bos: string | null;

  constructor(private readonly tokenizer: Tokenizer) {
    this.bos = tokenizer.bosToken === null ? null : tokenizer.idToToken(tokenizer.bosToken);
  }

  /** The token that stands before a text without a context. Throws BAD_TOKENIZER where there is none. */
  get prefixToken(): number {
    const token = this.tokenizer.bosToken ?? this.tokenizer.eosToken;
    if (token !== null) return token;
    throw new BtsError(
      'BAD_TOKENIZER',
      'the tokenizer has no token that begins or ends texts: an empty context needs one.',
    );
  }

  /** A text's tokens, with the special tokens that the tokenizer adds, unless the text begins with them itself. */
  encode(text: string): number[] {
    const begins = this.bos !== null && text.startsWith(this.bos);
    return this.tokenizer.encode(text, { specials: !begins });
  }

  /**
   * A context and what may follow it. White space at the context's end goes to the continuations, which are cut out of the
   * tokens of the whole: so does a model meet them.
   */
  encodeChoices(context: string, continuations: readonly string[]): { context: number[]; continuations: number[][] } {
    if (context === '') {
      const encode = (text: string) => this.tokenizer.encode(text, { specials: false });
      return { context: [this.prefixToken], continuations: continuations.map(encode) };
    }
    const stripped = stripEnd(context);
    const own = this.encode(stripped);
    const rest = (continuation: string) => this.encode(context + continuation).slice(own.length);
    return { context: own, continuations: continuations.map(rest) };
  }
}
