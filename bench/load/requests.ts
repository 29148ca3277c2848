/** What clients send: what is answered, and what is refused. */
export const COMPLETIONS = '/v1/completions';
export const CHAT = '/v1/chat/completions';

export interface Sent {
  path: string;
  body: string;
}

/** Of all kinds; the same each time. */
export const GOOD: readonly Sent[] = Array.from({ length: 48 }, (_, i) => {
  const model = i % 3 === 0 ? 'hub' : 'generalist';
  const sampling = { seed: i, temperature: i % 4 === 0 ? 0 : 1, max_tokens: 4 + ((i * 7) % 40), stream: i % 5 === 0 };
  const stitched = model === 'generalist' ? { gates: i % 7 === 1, without: i % 8 === 2 ? ['math'] : [] } : {};
  const text = `${'once upon a time '.repeat((i * 5) % 40)}number ${i}`;
  if (i % 6 === 5) {
    const messages = [{ role: 'user', content: text }];
    return { path: CHAT, body: JSON.stringify({ model, messages, ...sampling, ...stitched, logprobs: i % 4 === 1 }) };
  }
  const prompt = i % 6 === 4 ? [text, [...Buffer.from(text)]] : text;
  const more = {
    logprobs: i % 4 === 1 ? 2 : null,
    echo: i % 9 === 3,
    n: 1 + (i % 2),
    stop: i % 10 === 7 ? ['q', 'z'] : null,
  };
  return { path: COMPLETIONS, body: JSON.stringify({ model, prompt, ...sampling, ...stitched, ...more }) };
});

/** An answer but for its number and time; which of its parts is told first hangs on nothing that matters. */
export const normalized = (text: string): string =>
  text
    .replace(/"id":"[\w-]+"|"created":\d+/g, '')
    .split('\n\n')
    .sort()
    .join('\n\n');

export interface Refused extends Sent {
  method?: string;
  type?: string;
  statuses: readonly number[];
  /** Whether the connection may end before all was sent, and take the answer with it. */
  mayEnd?: boolean;
}

const ask = (fields: object) => JSON.stringify({ model: 'hub', prompt: 'x', max_tokens: 1, ...fields });
const many = (value: string, count: number) => new Array(count).fill(value).join();
const user = { role: 'user', content: 'x' };

/** What is refused, and how; `random` makes names that were never there. */
export function refused(random: () => number): Refused {
  const word = () => random().toString(36).slice(2);
  const all: (() => Refused)[] = [
    () => ({ path: COMPLETIONS, body: '{"prompt": "x"', statuses: [400] }),
    () => ({ path: COMPLETIONS, body: word(), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: '['.repeat(10_000), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: { [word()]: 1 } }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: [1, 'x'] }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: [5, 257] }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: [-1] }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: [1e300] }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: 'x'.repeat(1025) }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: 'x'.repeat(300_000) }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ max_tokens: -1 }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ max_tokens: 1e300 }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ temperature: '1' }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ n: 1e9 }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ [word()]: 1 }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ without: [word()] }), statuses: [400] }),
    () => ({ path: COMPLETIONS, body: ask({ model: word() }), statuses: [404] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: new Array(2000).fill('x') }), statuses: [429] }),
    () => ({ path: COMPLETIONS, body: ask({}), type: 'text/plain', statuses: [415] }),
    () => ({ path: COMPLETIONS, body: `{"prompt": [${many('[]', 1e6)}]}`, statuses: [413] }),
    () => ({ path: COMPLETIONS, body: ask({ prompt: 'x'.repeat(9 << 20) }), statuses: [413], mayEnd: true }),
    () => ({ path: CHAT, body: `{"model": "hub", "messages": [${many('{}', 300_000)}]}`, statuses: [413] }),
    () => ({ path: CHAT, body: ask({}), statuses: [400] }),
    () => ({
      path: CHAT,
      body: JSON.stringify({ model: 'generalist', messages: [{ ...user, role: 5 }] }),
      statuses: [400],
    }),
    () => ({ path: '/detokenize', body: '{"model": "hub", "tokens": [999]}', statuses: [400] }),
    () => ({ path: '/tokenize', body: '{"model": "hub"}', statuses: [400] }),
    () => ({ path: `/${word()}/${word()}`, body: '{}', statuses: [404] }),
    () => ({ path: COMPLETIONS, body: '{}', method: 'PUT', statuses: [404] }),
  ];
  return all[Math.floor(random() * all.length)]!();
}

/** A conversation whose template does not end. */
export const ENDLESS: Refused = {
  path: CHAT,
  body: JSON.stringify({ model: 'hub', messages: [user], chat_template_kwargs: { endless: true } }),
  statuses: [400],
};
