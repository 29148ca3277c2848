import { BtsError } from '../../base/errors.js';
import type { ChatMessage } from '../../data/tokenizer/chat-template.js';
import { encodePrompt, type Prompt } from '../../model/decoding/generate.js';
import type { LanguageModel } from '../../model/language-model.js';

export interface ConversationOptions {
  /** Whether it is one text that goes on, without a chat template. */
  plain: boolean;
  /** Tokens that an answer may have. */
  maxTokens: number;
  /** What was said before. */
  messages?: readonly ChatMessage[];
}

/** What was said, and as much of it as fits the model together with an answer. */
export class Conversation {
  readonly messages: ChatMessage[];
  /** Messages that say how to answer, before all others; they are always told. */
  private readonly rules: number;
  /** The first message behind them that is still told. */
  private first: number;

  constructor(
    private readonly model: Pick<LanguageModel, 'config' | 'tokenizer'>,
    private readonly options: ConversationOptions,
  ) {
    this.messages = [...(options.messages ?? [])];
    this.rules = this.messages.findIndex(({ role }) => role !== 'system');
    if (this.rules < 0) this.rules = this.messages.length;
    this.first = this.rules;
  }

  /** Whether its last message waits for an answer. */
  get isAsked(): boolean {
    return this.messages.length > this.rules && this.messages.at(-1)!.role !== 'assistant';
  }

  /** Messages from the beginning that the model is not told any more. */
  get dropped(): number {
    return this.first - this.rules;
  }

  /** The same from its beginning on: with nothing but the rules. */
  renewed(): Conversation {
    return new Conversation(this.model, { ...this.options, messages: this.messages.slice(0, this.rules) });
  }

  ask(content: string): void {
    this.messages.push({ role: 'user', content });
  }

  answer(content: string): void {
    this.messages.push({ role: 'assistant', content });
  }

  /** Takes the last message back. */
  takeBack(): void {
    this.messages.pop();
  }

  /**
   * What the model is told. A quarter of its positions is left for the answer, or `maxTokens`; what was said first is dropped
   * for it, question by question. Throws BAD_OPTION where the last message alone is too long, and what encoding throws.
   */
  prompt(): Prompt {
    const { maxPositions } = this.model.config;
    const room = maxPositions - Math.min(this.options.maxTokens, Math.floor(maxPositions / 4));
    for (;;) {
      const prompt = this.told();
      const { length } = encodePrompt(this.model, prompt);
      if (length <= room) return prompt;
      const next = this.messages.findIndex(({ role }, i) => i > this.first && role === 'user');
      if (next < 0) {
        throw new BtsError(
          'BAD_OPTION',
          `the message has ${length} tokens, and ${room} of the model's ${maxPositions} positions are there for it: shorten it.`,
        );
      }
      this.first = next;
    }
  }

  private told(): string | readonly ChatMessage[] {
    const messages = [...this.messages.slice(0, this.rules), ...this.messages.slice(this.first)];
    if (!this.options.plain) return messages;
    // An answer goes on where the line ends, what is typed begins a line.
    return messages
      .map(({ role, content }, i) => (role === 'user' && i > 0 ? '\n' : '') + String(content ?? ''))
      .join('');
  }
}
