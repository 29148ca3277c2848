import type { GeneratedToken } from '../../model/decoding/generation.js';
import { type Asker, expectFits, finishReason, merged, toRequest } from './answering.js';
import { Fault } from './faults.js';
import { gatesOf, joinGates, type ToldGates } from './gates.js';
import type { Reply, Usage } from './reply.js';
import { type ChatBody, textsOf } from './requests.js';
import type { ServedModel } from './served-model.js';

/** `/v1/chat/completions`: a conversation goes on by the checkpoint's chat template. */
export function chat(served: ServedModel, body: ChatBody, asker: Asker): Reply {
  const { model, engine } = served;
  if (body.top_logprobs != null && !body.logprobs) {
    throw new Fault(400, 'BAD_OPTION', 'top_logprobs: they come with logprobs: true alone.', 'top_logprobs');
  }
  expectFits(served, textsOf(body.messages), 'messages');
  const prompt = model.tokenizer.encodeChat(body.messages, {
    addGenerationPrompt: true,
    variables: body.chat_template_kwargs ?? {},
  });
  const logprobs = body.logprobs ? (body.top_logprobs ?? 0) : undefined;
  // As many as there are positions.
  const defaultTokens = Math.max(1, model.config.maxPositions - prompt.length + 1);
  const request = toRequest(served, body, { prompt, defaultTokens, logprobs }, asker);
  const [events] = engine.submit([request]);
  const usage: Usage = { prompt_tokens: prompt.length, completion_tokens: 0 };

  async function* choices(): AsyncGenerator<object> {
    const begun = new Set<number>();
    for await (const [, event] of merged([events!])) {
      if ('prompt' in event) continue;
      usage.completion_tokens++;
      const role = begun.has(event.index) ? {} : { role: 'assistant' };
      begun.add(event.index);
      yield {
        index: event.index,
        delta: { ...role, content: event.text },
        logprobs: logprobs === undefined ? null : { content: [tokenLogprobs(served, event)] },
        finish_reason: event.finish ? finishReason(event.finish) : null,
        ...gatesOf(event),
      };
    }
    if (request.seeds.length > 0) return;
    for (let index = 0; index < (body.n ?? 1); index++) {
      yield { index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: 'length' };
    }
  }
  return { kind: 'chat.completion', id: 'chatcmpl', chunkKind: 'chat.completion.chunk', choices, usage, join };
}

function tokenLogprobs({ tokenText }: ServedModel, token: GeneratedToken): object {
  const told = (id: number, logprob: number) => ({ token: tokenText.of(id), logprob, bytes: tokenText.bytesOf(id) });
  const { id, logProbability = 0, topLogProbabilities = [] } = token;
  const top = topLogProbabilities.map(({ id, logProbability }) => told(id, logProbability));
  return { ...told(id, logProbability), top_logprobs: top };
}

interface Told extends ToldGates {
  index: number;
  delta: { content: string };
  logprobs: { content: object[] } | null;
  finish_reason: string | null;
}

/** Makes one choice of what was told of it bit by bit. */
function join(parts: readonly object[]): object {
  const told = parts as readonly Told[];
  const { index, logprobs } = told[0]!;
  const content = told.map(({ delta }) => delta.content).join('');
  return {
    index,
    message: { role: 'assistant', content, refusal: null },
    logprobs: logprobs && { content: told.flatMap(({ logprobs }) => logprobs?.content ?? []) },
    finish_reason: told.at(-1)!.finish_reason,
    ...joinGates(told),
  };
}
