import { BtsError } from '../../base/errors.js';
import type { Tokenizer } from '../../data/tokenizer.js';
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

  /** A text that is scored as a whole, with the special tokens that the tokenizer adds; none where the text itself has none. */
  encodeText(text: string): number[] {
    const specials = !this.begins(text);
    const tokens = this.tokenizer.encode(text, { specials });
    return tokens.length > this.tokenizer.encode('', { specials }).length ? tokens : [];
  }

  /** What a model is to go on with, one token at least. Throws BAD_TOKENIZER. */
  encodePrompt(prompt: string): number[] {
    const tokens = this.encodeStart(prompt);
    return tokens.length > 0 ? tokens : [this.prefixToken];
  }

  /**
   * A context, of one token at least, and what may follow it. White space at the context's end goes to the continuations, which
   * are cut out of the tokens of the whole: so does a model meet them. A continuation that the tokenizer merges into its
   * context is left without tokens. Throws BAD_TOKENIZER.
   */
  encodeChoices(context: string, continuations: readonly string[]): { context: number[]; continuations: number[][] } {
    const own = context === '' ? [] : this.encodeStart(stripEnd(context));
    if (own.length > 0) {
      const rest = (continuation: string) => this.encodeStart(context + continuation).slice(own.length);
      return { context: own, continuations: continuations.map(rest) };
    }
    const { prefixToken } = this;
    const whole = (continuation: string) => {
      const tokens = this.tokenizer.encode(context + continuation, { specials: false });
      return tokens[0] === prefixToken ? tokens.slice(1) : tokens;
    };
    return { context: [prefixToken], continuations: continuations.map(whole) };
  }

  /** Special tokens that end a text are not for one that goes on. */
  private encodeStart(text: string): number[] {
    return this.tokenizer.encode(text, { specials: this.begins(text) ? false : 'before' });
  }

  /** Whether a text has itself the token that the tokenizer would begin it with. */
  private begins(text: string): boolean {
    return this.bos !== null && text.startsWith(this.bos);
  }
}
