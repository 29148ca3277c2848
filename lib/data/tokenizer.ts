import { type Abortable, BtsError, throwIfAborted } from '../base/errors.js';
import { expectOptions } from '../base/options-check.js';
import { findAddedTokens, type Section } from './tokenizer/added-tokens.js';
import { BytePairs } from './tokenizer/byte-pairs.js';
import { type ChatMessage, type ChatOptions, renderChat } from './tokenizer/chat-template.js';
import { readDefinition, type TokenizerDefinition } from './tokenizer/definition.js';
import { compileNormalizers } from './tokenizer/normalizer.js';
import { compilePreTokenizers } from './tokenizer/pre-tokenizer.js';
import { wellFormed } from './tokenizer/strings.js';
import type { Template } from './tokenizer/template.js';
import { compileDecoders, type TokenDecoder } from './tokenizer/token-decoder.js';

/** Turns tokens into text one by one. */
export interface StreamDecoder {
  /** The text that became final with token `id`: '' while a character is incomplete. @throws BAD_TOKEN */
  push(id: number): string;
  /** What was held back. All that was returned, joined, is what `decode` gives. The decoder is used up. */
  end(): string;
}

/**
 * A checkpoint's tokenizer.json, with the settings of the files beside it, executed exactly as Hugging Face's reference,
 * the Rust `tokenizers` 0.23 under transformers. What cannot be reproduced is refused on loading: models other than byte-pair encoding, and whatever `components.ts` does not list.
 *
 * @huggingface/tokenizers translates the regular expressions. The rest of that package (0.2.0) is not used: it takes 30
 * times as long on Llama 2 text, drops byte order marks, reads invalid runs of byte tokens otherwise, and ignores
 * `single_word`, most options of Split and Metaspace, and digits and white space beyond JavaScript's \d and \s.
 */
export class Tokenizer {
  /** V: ids lie below it. */
  readonly vocabularySize: number;
  /** How many of the tokens are not added ones: ids from 0, which text is cut and merged into. */
  readonly modelVocabularySize: number;
  /** The token that begins a text, if there is one. */
  readonly bosToken: number | null;
  /** The token that ends a text, if there is one. */
  readonly eosToken: number | null;
  /** The tokens at which generation ends: end of text, and what generation_config.json or config.json add. */
  readonly stopTokens: readonly number[];
  /** SHA-256 of what the tokenizer does, in hexadecimal: how its files are written does not matter. */
  readonly hash: string;

  private readonly tokens: string[];
  private readonly specials: Set<number>;
  /** Added tokens that decode to something else than their content. */
  private readonly decodedAs = new Map<number, string>();
  private readonly normalize: (text: string) => string;
  private readonly cut: (text: string, isStart: boolean) => string[];
  private readonly findAsWritten: (text: string) => Section[];
  private readonly findNormalized: (text: string) => Section[];
  private readonly model: BytePairs;
  private readonly template: Template;
  private readonly startDecoding: () => TokenDecoder;

  private constructor(private readonly definition: TokenizerDefinition) {
    const { format, template, roles, hash, splitSpecialTokens } = definition;
    const { tokens, addedTokens, preTokenizers } = format;
    this.hash = hash;
    this.tokens = tokens;
    this.vocabularySize = tokens.length;
    this.modelVocabularySize = format.model.ids.size;
    this.bosToken = roles.bosToken;
    this.eosToken = roles.eosToken;
    this.stopTokens = roles.stopTokens;
    this.normalize = compileNormalizers(format.normalizers);
    this.cut = compilePreTokenizers(preTokenizers);
    this.model = new BytePairs(format.model, preTokenizers.at(-1)?.type === 'ByteLevel');
    this.template = template;
    this.startDecoding = compileDecoders(format.decoders);

    const asWritten = addedTokens.filter((token) => !token.normalized);
    const normalized = addedTokens.filter((token) => token.normalized);
    const normalForms = normalized.map(({ content }) => this.normalize(content));
    this.findAsWritten = findAddedTokens(
      asWritten,
      asWritten.map(({ content }) => content),
      splitSpecialTokens,
    );
    this.findNormalized = findAddedTokens(normalized, normalForms, splitSpecialTokens);
    for (const [index, { id }] of normalized.entries()) this.decodedAs.set(id, normalForms[index]!);
    this.specials = new Set(addedTokens.filter(({ special }) => special).map(({ id }) => id));
  }

  /**
   * Reads tokenizer.json of a checkpoint's folder, and from the other files there what transformers changes about it, and
   * which tokens begin and end a text. Large vocabularies take half a second.
   *
   * @param folder the checkpoint's folder
   * @throws FILE_NOT_FOUND, FILE_IO; BAD_TOKENIZER naming what is malformed or cannot be reproduced; ABORTED
   */
  static async load(folder: string, { signal }: Abortable = {}): Promise<Tokenizer> {
    throwIfAborted(signal, 'loading a tokenizer');
    const definition = await readDefinition(folder);
    throwIfAborted(signal, 'loading a tokenizer');
    return new Tokenizer(definition);
  }

  /** @internal The tokenizer that a definition describes. Large vocabularies take a moment. */
  static of(definition: TokenizerDefinition): Tokenizer {
    return new Tokenizer(definition);
  }

  /**
   * The tokens of `text`. Text that looks like a special token becomes that token. Half of a surrogate pair, which
   * UTF-8 cannot hold, is read as U+FFFD.
   *
   * A million characters take 0.1 to 1 s, for which the event loop waits: encode long texts in parts.
   *
   * @param text what is encoded
   * @param options what is added
   * @param options.specials whether to add the special tokens around it that the files ask for, or of those only the
   * ones before it, for a text that goes on; default true
   * @throws BAD_DATA where a single word has millions of characters
   */
  encode(text: string, options: { specials?: boolean | 'before' } = {}): number[] {
    expectOptions('encode', options, { specials: true });
    const { specials = true } = options;
    const ids: number[] = specials ? [...this.template.before] : [];
    const sections = this.findAsWritten(wellFormed(text));
    for (const [outer, section] of sections.entries()) {
      const subsections = typeof section === 'number' ? [section] : this.findNormalized(this.normalize(section));
      for (const [inner, part] of subsections.entries()) {
        if (typeof part === 'number') ids.push(part);
        else for (const piece of this.cut(part, outer + inner === 0)) this.model.encode(piece, ids);
      }
    }
    if (specials === true) ids.push(...this.template.after);
    return ids;
  }

  /**
   * The text that the checkpoint's chat template makes of a conversation, special tokens included: encode it with
   * `specials: false`, as `encodeChat` does.
   *
   * @param messages who said what, in order
   * @throws BAD_TOKENIZER where there is no template, or it is malformed, fails or does not end; BAD_OPTION where it
   *   refuses the conversation, or has not the name asked for
   */
  applyChatTemplate(messages: readonly ChatMessage[], options?: ChatOptions): string {
    const { chatTemplates, named } = this.definition;
    return renderChat(chatTemplates, named, messages, options);
  }

  /** Whether the checkpoint has a template for conversations, one that needs not be named. */
  get hasChatTemplate(): boolean {
    return this.definition.chatTemplates.has('default');
  }

  /**
   * The tokens of a conversation.
   *
   * @param messages who said what, in order
   * @throws what `applyChatTemplate` throws
   */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): number[] {
    return this.encode(this.applyChatTemplate(messages, options), { specials: false });
  }

  /**
   * The text of `ids`, with nothing "cleaned up". Bytes that are not UTF-8 become U+FFFD.
   *
   * @param ids token ids
   * @param options what is left out
   * @param options.skipSpecials whether to leave out special tokens; default false
   * @throws BAD_TOKEN if an id lies outside the vocabulary
   */
  decode(ids: Iterable<number>, options: { skipSpecials?: boolean } = {}): string {
    const decoder = this.createDecoder(options);
    let text = '';
    for (const id of ids) text += decoder.push(id);
    return text + decoder.end();
  }

  /** Decodes a text as its tokens come in. Options as in `decode`. */
  createDecoder(options: { skipSpecials?: boolean } = {}): StreamDecoder {
    expectOptions('decode', options, { skipSpecials: true });
    const { skipSpecials = false } = options;
    const decoder = this.startDecoding();
    return {
      push: (id) => {
        const token = this.decodedAs.get(id) ?? this.tokens[id];
        if (token === undefined) {
          throw new BtsError(
            'BAD_TOKEN',
            `Token ${id} does not exist: the vocabulary is 0 to ${this.tokens.length - 1}.`,
          );
        }
        return skipSpecials && this.specials.has(id) ? '' : decoder.push(token);
      },
      end: () => decoder.end(),
    };
  }

  /** The id of a token as the vocabulary spells it, such as 'Ġthe' or '▁the'; null if there is none. */
  tokenToId(token: string): number | null {
    return this.definition.idOf(token);
  }

  /** How the vocabulary spells token `id`; null if there is none. */
  idToToken(id: number): string | null {
    return this.tokens[id] ?? null;
  }
}
