import { hash32 } from '../../base/random.js';
import { type GatedText, meansOfTexts, membersOf } from '../../gates/gated-text.js';
import { generate } from '../../model/decoding/generate.js';
import type { GeneratedToken } from '../../model/decoding/generation.js';
import type { GenerateOptions } from '../../model/decoding/options.js';
import { PromptMemory } from '../../model/decoding/prompt-memory.js';
import type { LanguageModel } from '../../model/language-model.js';
import { note, print, printJson, writeText } from '../../terminal/output.js';
import { withoutExperts } from '../options/sampling-options.js';
import type { Conversation } from './conversation.js';
import type { Tint } from './tint.js';

export interface SessionOptions extends GenerateOptions {
  /** Experts that take no part. */
  without: readonly string[];
  /** Whether an answer is printed as JSON, at its end. */
  json: boolean;
  /** Whether somebody reads what is told of answers. */
  isTerminal: boolean;
}

/** A conversation with a model: it prints the answers, and keeps what was computed of it. */
export class Session implements Disposable {
  private model: LanguageModel;
  private off: readonly string[] = [];
  private answers = 0;
  private readonly memory = new PromptMemory();
  /** The last answer, token by token. */
  last: GatedText | undefined;

  /** Throws BAD_OPTION where experts are named that the model does not have. */
  constructor(
    private readonly loaded: LanguageModel,
    public conversation: Conversation,
    readonly tint: Tint,
    private readonly options: SessionOptions,
  ) {
    this.model = loaded;
    this.without = options.without;
  }

  get hasGates(): boolean {
    return this.loaded.hasGates;
  }

  /** Experts that take no part. */
  get without(): readonly string[] {
    return this.off;
  }

  /** Throws BAD_OPTION for what is no expert. */
  set without(names: readonly string[]) {
    this.model = withoutExperts(this.loaded, names);
    this.off = names;
  }

  renew(): void {
    this.conversation = this.conversation.renewed();
  }

  /**
   * Answers the conversation's last message. Where nothing comes of it, the message is taken back. Throws what encoding and
   * generating throw, ABORTED.
   */
  async answer(signal: AbortSignal): Promise<void> {
    const { conversation, options } = this;
    const { without: _, json, isTerminal, seed = 0, ...settings } = options;
    const tokens: GeneratedToken[] = [];
    try {
      const before = conversation.dropped;
      const prompt = conversation.prompt();
      const { dropped } = conversation;
      if (dropped > before) note(`(the first ${dropped} messages do not fit the model any more, and are left out)`);
      const asked = { ...settings, seed: this.answers === 0 ? seed : hash32(seed, this.answers) };
      const { memory, model } = this;
      for await (const token of generate(model, prompt, { ...asked, gates: model.hasGates, signal }, memory)) {
        tokens.push(token);
        if (!json) this.show(token);
      }
    } finally {
      const text = tokens.map((token) => token.text).join('');
      if (tokens.length > 0) {
        this.answers++;
        conversation.answer(text);
        this.last = { name: 'the last answer', prompt: [], answer: tokens, parts: [] };
        if (!json && !text.endsWith('\n')) print('');
      } else conversation.takeBack();
    }
    const finish = tokens.at(-1)?.finish;
    if (json) this.printJson(tokens);
    else if (isTerminal && finish === 'length') note(`(${tokens.length} tokens, the most of an answer: --max-tokens)`);
    else if (isTerminal && finish === 'context') note('(the model has no positions left: /new begins anew)');
  }

  private show({ text, gates }: GeneratedToken): void {
    const legend = gates && this.tint.legend(gates);
    if (legend) note(legend);
    writeText(text, (shown) => (gates ? this.tint.paint(shown, gates) : shown));
  }

  private printJson(tokens: readonly GeneratedToken[]): void {
    const { finish } = tokens.at(-1)!;
    const text = tokens.map((token) => token.text).join('');
    const last = [this.last!];
    const gates = this.hasGates && {
      gates: {
        members: membersOf(last),
        stitches: meansOfTexts(last).map(({ placement, gates }) => ({ placement, mean: gates })),
      },
    };
    printJson({ text, tokens: tokens.map(({ id }) => id), finish, dropped: this.conversation.dropped, ...gates });
  }

  [Symbol.dispose](): void {
    this.memory.dispose();
  }
}
