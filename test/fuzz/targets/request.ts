import { Fault } from '../../../lib/serving/http/faults.js';
import {
  ChatBody,
  CompletionBody,
  DetokenizeBody,
  readBody,
  TokenizeBody,
} from '../../../lib/serving/http/requests.js';
import { Bytes } from '../bytes.js';
import { editedJson } from '../json-edits.js';
import type { Target } from '../target.js';

const messages = [
  { role: 'user', content: 'Hello' },
  { role: 'user', content: [{ type: 'text', text: 'there' }] },
];
const sampling = {
  temperature: 0.5,
  top_p: 0.9,
  top_k: 4,
  min_p: 0.1,
  repetition_penalty: 1.1,
  seed: 1,
  n: 2,
  max_tokens: 9,
};
const answer = {
  ...sampling,
  stop: ['\n'],
  stream: true,
  stream_options: { include_usage: true },
  without: ['code'],
  gates: true,
};
const KINDS = [
  {
    schema: CompletionBody,
    seeds: [{ model: 'a', prompt: 'abc', ...answer, echo: true, logprobs: 2 }, { prompt: [[1, 2], 'x'] }],
  },
  { schema: ChatBody, seeds: [{ messages, ...answer, logprobs: true, chat_template_kwargs: { a: [1] } }] },
  { schema: TokenizeBody, seeds: [{ prompt: 'abc', add_special_tokens: true }, { messages }] },
  { schema: DetokenizeBody, seeds: [{ tokens: [1, 2, 3] }] },
];

export const target: Target = {
  words: KINDS.flatMap(({ seeds }) => seeds.flatMap((seed) => Object.keys(seed))).map((key) => `"${key}"`),
  seeds: () => KINDS.flatMap(({ seeds }, kind) => seeds.map((_, seed) => Buffer.of(kind, 0, seed))),
  async run(data) {
    const bytes = new Bytes(data);
    const { schema, seeds } = bytes.pick(KINDS);
    const body = editedJson(bytes, seeds);
    const headers = { 'content-type': 'application/json' };
    try {
      await readBody(new Request('http://localhost/', { method: 'POST', body, headers }), schema);
    } catch (error) {
      if (!(error instanceof Fault && error.status >= 400 && error.status < 500 && error.message.length <= 4000))
        throw error;
    }
  },
};
