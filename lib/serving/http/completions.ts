import { BtsError } from '../../base/errors.js';
import { mapInTurns } from '../../base/turns.js';
import { encodePrompt } from '../../model/decoding/generate.js';
import type { GeneratedToken } from '../../model/decoding/generation.js';
import type { LogProbabilities } from '../../model/decoding/log-probabilities.js';
import { type Asker, expectFits, finishReason, merged, toRequest } from './answering.js';
import { Fault } from './faults.js';
import { gatesOf, joinGates, type ToldGates } from './gates.js';
import type { Reply, Usage } from './reply.js';
import type { CompletionBody } from './requests.js';
import type { ServedModel } from './served-model.js';

const DEFAULT_TOKENS = 16;

/** What came of one answer since it was told last. */
class Choice {
  text = '';
  finish: 'stop' | 'length' | null = null;
  private readonly tokens: string[] = [];
  private readonly tokenLogprobs: (number | null)[] = [];
  private readonly topLogprobs: (Record<string, number> | null)[] = [];
  private readonly offsets: number[] = [];
  private gates: ToldGates = {};

  constructor(
    private readonly index: number,
    private readonly served: ServedModel,
    private readonly tellsLogprobs: boolean,
    /** Where in the whole text it goes on. */
    private at: number,
  ) {}

  push(token: GeneratedToken): void {
    this.text += token.text;
    if (token.finish) this.finish = finishReason(token.finish);
    if (this.tellsLogprobs) this.pushToken(token.id, token as LogProbabilities);
    this.gates = joinGates([this.gates, gatesOf(token)]);
  }

  pushPrompt(text: string, ids: readonly number[], scores: readonly LogProbabilities[]): void {
    this.text += text;
    if (this.tellsLogprobs) for (const [i, id] of ids.entries()) this.pushToken(id, scores[i - 1]);
  }

  private pushToken(id: number, found: LogProbabilities | undefined): void {
    const { tokenText } = this.served;
    const text = tokenText.of(id);
    this.tokens.push(text);
    this.tokenLogprobs.push(found?.logProbability ?? null);
    const top = found?.topLogProbabilities.map(({ id, logProbability }) => [tokenText.of(id), logProbability]);
    // The token itself is told, too, wherever it stands.
    this.topLogprobs.push(found && top ? Object.fromEntries([...top, [text, found.logProbability]]) : null);
    this.offsets.push(this.at);
    this.at += text.length;
  }

  /** What is to be told, which then is told; the next is another one's. */
  take(): [told: object, next: Choice] {
    const { index, text, finish } = this;
    const logprobs = this.tellsLogprobs
      ? {
          tokens: this.tokens,
          token_logprobs: this.tokenLogprobs,
          top_logprobs: this.topLogprobs,
          text_offset: this.offsets,
        }
      : null;
    const next = new Choice(index, this.served, this.tellsLogprobs, this.at);
    return [{ index, text, logprobs, finish_reason: finish, ...this.gates }, next];
  }
}

/** `/v1/completions`: texts or token ids go on. */
export async function complete(served: ServedModel, body: CompletionBody, asker: Asker): Promise<Reply> {
  const { model, engine } = served;
  const inputs = promptsOf(body);
  if (inputs.length > served.maxQueue) {
    throw new BtsError('BUSY', `${inputs.length} prompts came at once, and ${served.maxQueue} may wait (maxQueue).`);
  }
  const prompts = await mapInTurns(inputs, (input) => tokensOf(served, input), asker.signal);
  const logprobs = body.logprobs ?? undefined;
  const requests = prompts.map((prompt) =>
    toRequest(
      served,
      body,
      {
        prompt,
        defaultTokens: DEFAULT_TOKENS,
        logprobs,
        promptLogprobs: body.echo ? logprobs : undefined,
      },
      asker,
    ),
  );
  const tellsLogprobs = logprobs !== undefined;
  if (tellsLogprobs || body.echo) model.tokenizer; // or say at once that there is none
  const events = engine.submit(requests);
  const n = body.n ?? 1;
  const usage: Usage = { prompt_tokens: prompts.reduce((sum, { length }) => sum + length, 0), completion_tokens: 0 };

  async function* choices(): AsyncGenerator<object> {
    const open = new Map<number, Choice>();
    const choice = (index: number) => open.get(index) ?? new Choice(index, served, tellsLogprobs, 0);
    const tell = (index: number, change: (choice: Choice) => void): object => {
      const now = choice(index);
      change(now);
      const [told, next] = now.take();
      open.set(index, next);
      return told;
    };
    const echoed = new Set<number>();
    const echo = (p: number, scores: readonly LogProbabilities[]): object[] => {
      if (!body.echo || echoed.has(p)) return [];
      echoed.add(p);
      const input = inputs[p]!;
      const text = typeof input === 'string' ? input : textOf(served, prompts[p]!);
      const finish = requests[p]!.seeds.length === 0 ? ('length' as const) : null;
      return Array.from({ length: n }, (_, i) =>
        tell(p * n + i, (choice) => {
          choice.pushPrompt(text, prompts[p]!, scores);
          choice.finish = finish;
        }),
      );
    };
    for await (const [p, event] of merged(events)) {
      if ('prompt' in event) {
        yield* echo(p, event.prompt);
        continue;
      }
      yield* echo(p, []);
      usage.completion_tokens++;
      yield tell(p * n + event.index, (choice) => choice.push(event));
    }
    // Where no token was asked for, something is told of every answer all the same.
    for (const [p, { seeds }] of requests.entries()) {
      if (seeds.length > 0 || echoed.has(p)) continue;
      if (body.echo) yield* echo(p, []);
      else for (let i = 0; i < n; i++) yield tell(p * n + i, (choice) => (choice.finish = 'length'));
    }
  }
  return { kind: 'text_completion', id: 'cmpl', chunkKind: 'text_completion', choices, usage, join: joinChoices };
}

interface Told extends ToldGates {
  index: number;
  text: string;
  logprobs: Record<string, unknown[]> | null;
  finish_reason: string | null;
}

/** Makes one choice of what was told of it bit by bit. */
function joinChoices(parts: readonly object[]): object {
  const [first, ...rest] = parts as readonly [Told, ...Told[]];
  for (const part of rest) {
    first.text += part.text;
    first.finish_reason = part.finish_reason;
    for (const [name, values] of Object.entries(part.logprobs ?? {})) first.logprobs![name]!.push(...values);
  }
  return Object.assign(first, joinGates(parts as readonly Told[]));
}

function promptsOf({ prompt }: CompletionBody): readonly (string | readonly number[])[] {
  if (typeof prompt === 'string') return [prompt];
  if (prompt.length === 0) throw new Fault(400, 'BAD_OPTION', 'prompt: it is an empty list.', 'prompt');
  return typeof prompt[0] === 'number' ? [prompt as number[]] : (prompt as (string | number[])[]);
}

function tokensOf(served: ServedModel, input: string | readonly number[]): readonly number[] {
  if (typeof input !== 'string') return input;
  expectFits(served, [input], 'prompt');
  return encodePrompt(served.model, input);
}

/** Of a prompt that came as ids; padding of the vocabulary has no text. */
function textOf({ model: { tokenizer } }: ServedModel, ids: readonly number[]): string {
  return tokenizer.decode(ids.filter((id) => id < tokenizer.vocabularySize));
}
