/**
 * Generation, on tiny random models and, where they are at hand, on two trained ones whose folders hold what transformers
 * computes (golden.json).
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Prompt } from '../../lib/model/decoding/generate.js';
import type { GeneratedToken } from '../../lib/model/decoding/generation.js';
import type { GenerateOptions } from '../../lib/model/decoding/options.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu, shared } from '../support/devices.js';
import { CONFIGS, close, END_OF_TEXT, liveBytes, randomTokens, writeModel } from '../support/models.js';

const generate = suite('generate');
const device = openCpu();
let folder: string;
let model: DenseModel;

generate.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-generate-'));
  model = await DenseModel.load(device, await writeModel(device, join(folder, 'llama')));
});
generate.after(async () => {
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

async function run(from: LanguageModel, prompt: Prompt, options: GenerateOptions = {}) {
  const tokens: GeneratedToken[] = await collect(from.generate(prompt, options));
  return {
    ids: tokens.map(({ id }) => id),
    text: tokens.map(({ text }) => text).join(''),
    finish: tokens.at(-1)?.finish,
    unfinished: tokens.slice(0, -1).every((token) => !('finish' in token)),
  };
}

/** Options under which the random models go on to the end. */
const endless = { stopTokens: [], maxTokens: 40 };

generate('the same seed gives the same tokens, another seed others', async () => {
  const first = await run(model, 'once', { ...endless, seed: 5 });
  assert.is(first.ids.length, 40);
  assert.equal(await run(model, 'once', { ...endless, seed: 5 }), first);
  assert.is.not(String((await run(model, 'once', { ...endless, seed: 6 })).ids), String(first.ids));
  assert.equal(
    await run(model, 'once', { ...endless, seed: 0 }),
    await run(model, 'once', endless),
    'the default is 0',
  );
});

generate('temperature 0 takes the likeliest token of logits computed from scratch', async () => {
  const tokens = [...Buffer.from('once')];
  const { ids } = await run(model, 'once', { ...endless, temperature: 0 });
  for (const id of ids) {
    const logits = (await model.logits(tokens)).subarray(-model.config.vocabularySize);
    assert.is(id, logits.indexOf(Math.max(...logits)));
    tokens.push(id);
  }
});

generate('a repetition penalty counts the prompt and what was generated', async () => {
  const prompt = randomTokens(20);
  const { ids } = await run(model, [...prompt], { ...endless, temperature: 0, repetitionPenalty: 1e6 });
  assert.is(new Set([...prompt, ...ids]).size, new Set(prompt).size + ids.length);
});

generate('what a tokenizer puts behind a text does not end the prompt', async () => {
  const path = await writeModel(device, join(folder, 'ends'));
  const config = join(path, 'tokenizer_config.json');
  const settings = { ...JSON.parse(await readFile(config, 'utf8')), tokenizer_class: 'LlamaTokenizer' };
  await writeFile(config, JSON.stringify({ ...settings, add_bos_token: false, add_eos_token: true }));
  using ending = await DenseModel.load(device, path);
  const { tokenizer } = ending;
  const open = tokenizer.encode('Once', { specials: false });
  assert.equal(tokenizer.encode('Once'), [...open, END_OF_TEXT]);
  const options = { temperature: 0, maxTokens: 5, stopTokens: [] };
  assert.equal((await run(ending, 'Once', options)).ids, (await run(ending, open, options)).ids);
});

generate('a conversation is answered by the chat template', async () => {
  const path = await writeModel(device, join(folder, 'chat'));
  const config = join(path, 'tokenizer_config.json');
  const template =
    '{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}a:{% endif %}';
  const settings = { ...JSON.parse(await readFile(config, 'utf8')), chat_template: template };
  await writeFile(config, JSON.stringify(settings));
  using chatting = await DenseModel.load(device, path);
  const options = { maxTokens: 8, stopTokens: [] };
  const conversation = [
    { role: 'user', content: 'x' },
    { role: 'assistant', content: 'y' },
    { role: 'user', content: 'z' },
  ];
  assert.equal(await run(chatting, conversation, options), await run(chatting, 'u:x\na:y\nu:z\na:', options));
  const open = { ...options, chat: { addGenerationPrompt: false } };
  assert.equal(await run(chatting, conversation, open), await run(chatting, 'u:x\na:y\nu:z\n', options));
  await fails(() => run(model, conversation, options), 'BAD_TOKENIZER', /no chat template/);
});

generate('maxTokens ends generation with the reason length', async () => {
  const { ids } = await run(model, 'ab', endless);
  for (const maxTokens of [1, 2, 7]) {
    const short = await run(model, 'ab', { ...endless, maxTokens });
    assert.equal(short.ids, ids.slice(0, maxTokens));
    assert.is(short.finish, 'length');
    assert.ok(short.unfinished);
  }
  assert.equal(await collect(model.generate('ab', { ...endless, maxTokens: 0 })), []);
});

generate('generation ends with the reason context where the positions of the model end', async () => {
  const { maxPositions } = model.config;
  const { ids, finish } = await run(model, 'abcde', { stopTokens: [], maxTokens: 10 * maxPositions });
  // The last position's token is generated, and there is no place to put it.
  assert.is(ids.length, maxPositions - 5 + 1);
  assert.is(finish, 'context');
  assert.is((await run(model, [...randomTokens(maxPositions)], endless)).ids.length, 1);
  const exact = await run(model, 'abcde', { stopTokens: [], maxTokens: maxPositions - 5 + 1 });
  assert.is(exact.finish, 'length', 'both end at once: there is as much as was asked for');
  await fails(
    () => run(model, [...randomTokens(maxPositions + 1)], endless),
    'BAD_OPTION',
    new RegExp(`${maxPositions + 1} tokens, expected 1 to ${maxPositions}`),
  );
});

generate('a stop token ends generation, comes last and adds no text', async () => {
  const { ids } = await run(model, 'ab', endless);
  const at = 6;
  const stopToken = ids[at]!;
  const cut = ids.slice(0, ids.indexOf(stopToken) + 1);
  const stopped = await run(model, 'ab', { ...endless, stopTokens: [1000, stopToken] });
  assert.equal(stopped.ids, cut);
  assert.is(stopped.finish, 'stop');
  assert.ok(stopped.unfinished);
  assert.is(stopped.text, model.tokenizer.decode(cut.slice(0, -1)));
});

generate("the default stop tokens are the checkpoint's", async () => {
  assert.equal(model.stopTokens, [END_OF_TEXT]);
  const options = { temperature: 5, maxTokens: 60 };
  let seen = 0;
  for (let seed = 0; seed < 8; seed++) {
    const { ids, finish } = await run(model, 'ab', { ...options, seed });
    const ended = ids.at(-1) === END_OF_TEXT;
    assert.is(finish, ended ? 'stop' : 'length');
    assert.is(ids.slice(0, -1).includes(END_OF_TEXT), false);
    if (ended) seen++;
  }
  assert.ok(seen > 0, 'the case has texts that end');
});

generate('text ends before a stop string that is spread over tokens', async () => {
  const greedy = { ...endless, temperature: 0 };
  const { ids, text } = await run(model, 'xy', greedy);
  const stop = text.slice(4, 8);
  const stopped = await run(model, 'xy', { ...greedy, stop: ['never there', stop] });
  assert.is(stopped.text, text.slice(0, text.indexOf(stop)));
  assert.is(stopped.finish, 'stop');
  assert.ok(stopped.ids.length < ids.length);
  assert.equal(stopped.ids, ids.slice(0, stopped.ids.length));
});

generate('a beginning of a stop string is part of the text if generation ends there', async () => {
  const { ids, text } = await run(model, 'xy', { ...endless, temperature: 0 });
  const end = text.slice(-2);
  const held = await run(model, 'xy', { ...endless, temperature: 0, stop: [`${end} and more`] });
  assert.is(held.text, text);
  assert.equal(held.ids, ids);
  assert.is(held.finish, 'length');
});

generate('the texts of all tokens together are the decoded tokens', async () => {
  for (let seed = 0; seed < 10; seed++) {
    // Random bytes: characters of several bytes, incomplete ones and invalid ones.
    const { ids, text } = await run(model, 'é', { ...endless, seed, temperature: 2 });
    assert.is(text, model.tokenizer.decode(ids, { skipSpecials: true }));
  }
});

generate('special tokens and the padding of a vocabulary are no text', async () => {
  const padded = await DenseModel.load(
    device,
    await writeModel(device, join(folder, 'padded'), { config: CONFIGS.qwen3 }),
  );
  using _ = padded;
  const { vocabularySize } = padded.tokenizer;
  assert.ok(padded.config.vocabularySize > vocabularySize, 'the case has padding');
  let seen = 0;
  for (let seed = 0; seed < 10; seed++) {
    const { ids, text } = await run(padded, 'ab', { ...endless, seed, temperature: 5 });
    seen += ids.filter((id) => id >= END_OF_TEXT).length;
    assert.is(text, padded.tokenizer.decode(ids.filter((id) => id < END_OF_TEXT)));
  }
  assert.ok(seen > 0, 'the case generates such tokens');
});

generate('token ids are a prompt like the text that they encode', async () => {
  const asText = await run(model, 'hello', endless);
  const asIds = await run(model, [...Buffer.from('hello')], endless);
  assert.equal(asIds.ids, asText.ids);
  assert.is(asIds.text, '', 'nobody asked for text');
  assert.is((await run(model, [...Buffer.from('hello')], { ...endless, stop: ['never there'] })).text, asText.text);
});

generate('an empty text begins with the token that begins or ends texts', async () => {
  assert.equal((await run(model, '', endless)).ids, (await run(model, [END_OF_TEXT], endless)).ids);
});

generate('a model without a tokenizer continues token ids, and says what it lacks for text', async () => {
  const bare = await writeModel(device, join(folder, 'bare'));
  await rm(join(bare, 'tokenizer.json'));
  using silent = await DenseModel.load(device, bare);
  assert.equal((await run(silent, [104, 105], endless)).ids, (await run(model, 'hi', endless)).ids);
  await fails(() => run(silent, 'hi', endless), 'BAD_TOKENIZER', /no tokenizer/);
  await fails(() => run(silent, [104], { ...endless, stop: ['x'] }), 'BAD_TOKENIZER', /no tokenizer/);
});

generate('an aborted signal ends generation with a typed error', async () => {
  const live = await liveBytes(device);
  await fails(() => run(model, 'ab', { ...endless, signal: AbortSignal.abort() }), 'ABORTED', /stopped/);
  const controller = new AbortController();
  const ids: number[] = [];
  await fails(
    async () => {
      for await (const { id } of model.generate('ab', { ...endless, signal: controller.signal })) {
        if (ids.push(id) === 3) controller.abort();
      }
    },
    'ABORTED',
    /stopped/,
  );
  assert.equal(ids, (await run(model, 'ab', { ...endless, maxTokens: 3 })).ids);
  assert.is(await liveBytes(device), live);
});

generate('whoever stops listening leaves nothing behind', async () => {
  const live = await liveBytes(device);
  for await (const { id } of model.generate('ab', endless)) {
    assert.type(id, 'number');
    assert.ok((await liveBytes(device)) > live, 'there is a cache meanwhile');
    break;
  }
  assert.is(await liveBytes(device), live);
});

const refused: [name: string, prompt: Prompt, options: GenerateOptions, code: 'BAD_OPTION' | 'BAD_TOKEN', RegExp][] = [
  ['a negative maxTokens', 'a', { maxTokens: -1 }, 'BAD_OPTION', /maxTokens.*-1/],
  ['a fractional maxTokens', 'a', { maxTokens: 1.5 }, 'BAD_OPTION', /maxTokens.*1.5/],
  ['a seed that is none', 'a', { seed: -1 }, 'BAD_OPTION', /seed/],
  ['an empty stop string', 'a', { stop: ['b', ''] }, 'BAD_OPTION', /stop string/],
  ['a temperature below zero', 'a', { temperature: -1 }, 'BAD_OPTION', /temperature/],
  ['no tokens', [], {}, 'BAD_OPTION', /0 tokens/],
  ['a token outside the vocabulary', [5, 257], {}, 'BAD_TOKEN', /257 at place 1/],
  ['half a token', [1.5], {}, 'BAD_TOKEN', /1.5 at place 0/],
  ['a negative token', [-1], {}, 'BAD_TOKEN', /-1 at place 0/],
];
for (const [name, prompt, options, code, message] of refused) {
  generate(`${name} is refused`, async () => {
    const live = await liveBytes(device);
    await fails(() => run(model, prompt, options), code, message);
    assert.is(await liveBytes(device), live);
  });
}

/** Logits of every position, through a cache that receives the tokens in pieces of these sizes. */
async function cachedLogits(from: LanguageModel, ids: Int32Array, sizes: Iterable<number>, batch = 1) {
  const tokens = ids.length / batch;
  using cache = from.createCache(batch, tokens);
  const rows: { position: number; logits: Float32Array }[] = [];
  let position = 0;
  for (const size of sizes) {
    const end = Math.min(tokens, position + size);
    const piece = Array.from({ length: batch }, (_, b) => [...ids.subarray(b * tokens + position, b * tokens + end)]);
    rows.push({ position: end - 1, logits: await from.extend(cache, piece.flat()) });
    position = end;
    if (position === tokens) return rows;
  }
  return rows;
}

for (const [family, config] of Object.entries(CONFIGS)) {
  generate(
    `${family}: logits through a cache are those computed from scratch, for each sequence of a batch`,
    async () => {
      using tiny = await DenseModel.load(device, await writeModel(device, join(folder, `cache-${family}`), { config }));
      const [batch, tokens, V] = [3, 30, config.vocabularySize];
      const ids = randomTokens(batch * tokens);
      const whole = await tiny.logits(ids, batch);
      for (const sizes of [Array<number>(tokens).fill(1), [7, 1, 13, 2, 30]]) {
        const rows = await cachedLogits(tiny, ids, sizes, batch);
        assert.is(rows.at(-1)!.position, tokens - 1);
        for (const { position, logits } of rows) {
          for (let b = 0; b < batch; b++) {
            const at = (b * tokens + position) * V;
            close(logits.subarray(b * V, (b + 1) * V), whole.subarray(at, at + V), 1e-5, `row ${position} of ${b}`);
          }
        }
      }
    },
  );
}

generate('a cache that is full takes no more, and stays as it was', async () => {
  using cache = model.createCache(2, 4);
  await model.extend(cache, [1, 2, 3, 4, 5, 6]);
  assert.equal(cache.lengths, [3, 3]);
  await fails(
    () => model.extend(cache, [1, 2, 3, 4]),
    'BAD_OPTION',
    /holds 4 tokens a sequence; 3 are in it and 2 more/,
  );
  await fails(() => model.extend(cache, [1, 2, 3]), 'BAD_OPTION', /3 token ids came for 2 sequences/);
  await fails(() => model.extend(cache, [1, 999]), 'BAD_TOKEN', /999/);
  assert.equal(cache.lengths, [3, 3]);
  const last = await model.extend(cache, [7, 8]);
  close(last, await lastLogits([1, 2, 3, 7, 4, 5, 6, 8], 2), 1e-5);
});

generate('a cache outlives its model, and is of no use then', async () => {
  const loaded = await DenseModel.load(device, await writeModel(device, join(folder, 'disposed')));
  using cache = loaded.createCache(1, 4);
  for (const id of [5, 6]) await loaded.extend(cache, [id]);
  loaded.dispose();
  await fails(() => loaded.extend(cache, [7]), 'DISPOSED', /a model was used after it was disposed/);
});

generate('a cache that goes over to another model is continued by that model', async () => {
  const [one, two] = [
    await writeModel(device, join(folder, 'one')),
    await writeModel(device, join(folder, 'two'), { seed: 2 }),
  ];
  using first = await DenseModel.load(device, one);
  using second = await DenseModel.load(device, two);
  using cache = first.createCache(1, 4);
  using own = second.createCache(1, 4);
  for (const id of [5, 6]) {
    await first.extend(cache, [id]);
    await second.extend(own, [id]);
  }
  const [mixed, pure] = [await second.extend(cache, [7]), await second.extend(own, [7])];
  assert.is(mixed.length, pure.length);
  assert.not.equal(mixed, pure, 'the keys and values before are those of the first model');
  own.copySequence(cache, 0, 0);
  assert.equal(await second.extend(cache, [8]), await second.extend(own, [8]));
});

async function lastLogits(ids: number[], batch: number): Promise<Float32Array> {
  const [V, tokens] = [model.config.vocabularySize, ids.length / batch];
  const all = await model.logits(ids, batch);
  const rows = Array.from({ length: batch }, (_, b) => [
    ...all.subarray(((b + 1) * tokens - 1) * V, (b + 1) * tokens * V),
  ]);
  return Float32Array.from(rows.flat());
}

interface Golden {
  cases: {
    prompt: string;
    prompt_ids: number[];
    new_ids: number[];
    new_text: string;
    logits_first_position_top10: [number, number][];
    logits_last_prompt_position_top10: [number, number][];
    logits_last_prompt_position_all: number[];
    prompt_token_nll: number[];
  }[];
  published_reference?: { text: string };
}

for (const name of ['stories260K', 'aidreams260K']) {
  const path = shared(`data/models/${name}`);
  if (!existsSync(path)) {
    console.log(`generate: skipped, there is no ${path}`);
    continue;
  }
  const golden = JSON.parse(await readFile(join(path, 'golden.json'), 'utf8')) as Golden;

  generate(`${name}: encodes prompts and continues them as transformers does`, async () => {
    using trained = await DenseModel.load(device, path);
    for (const { prompt, prompt_ids, new_ids, new_text } of golden.cases) {
      const { ids, text, finish } = await run(trained, prompt, { temperature: 0, maxTokens: new_ids.length });
      // Transformers goes on beyond the positions that the model was trained for.
      const want = new_ids.slice(0, trained.config.maxPositions - prompt_ids.length + 1);
      assert.equal(ids, want);
      if (want.length === new_ids.length) assert.is(prompt + text, new_text);
      else assert.ok(new_text.startsWith(prompt + text));
      const end = want.length === new_ids.length ? 'length' : 'context';
      assert.is(finish, trained.stopTokens.includes(want.at(-1)!) ? 'stop' : end);
    }
  });

  generate(`${name}: logits and losses of prompts are those of transformers`, async () => {
    using trained = await DenseModel.load(device, path);
    const V = trained.config.vocabularySize;
    for (const expected of golden.cases) {
      const ids = expected.prompt_ids;
      const logits = await trained.logits(ids);
      const last = logits.subarray(-V);
      close(last, expected.logits_last_prompt_position_all, 2e-6, 'last logits');
      for (const [row, top] of [
        [logits.subarray(0, V), expected.logits_first_position_top10],
        [last, expected.logits_last_prompt_position_top10],
      ] as const) {
        const falling = [...row.keys()].sort((a, b) => row[b]! - row[a]!).slice(0, 10);
        assert.equal(
          falling,
          top.map(([id]) => id),
        );
        close(
          falling.map((id) => row[id]!),
          top.map(([, logit]) => logit),
          2e-6,
          'top logits',
        );
      }
      if (ids.length === 1) continue;
      const [inputs, targets] = [Int32Array.from(ids.slice(0, -1)), Int32Array.from(ids.slice(1))];
      const losses = await trained.losses({ inputs, targets, batch: 1, tokens: inputs.length });
      // A small loss is the difference of two numbers of the logits' size, which both sides round.
      const rounding = 2 ** -23 * Math.max(...logits.map(Math.abs));
      const largest = Math.max(...expected.prompt_token_nll);
      close(losses, expected.prompt_token_nll, 2e-6 + rounding / largest, 'losses');
    }
  });

  generate(`${name}: logits through a cache are those computed from scratch, over a whole text`, async () => {
    using trained = await DenseModel.load(device, path);
    const { prompt_ids, new_ids } = golden.cases[0]!;
    const ids = Int32Array.from([...prompt_ids, ...new_ids].slice(0, trained.config.maxPositions));
    const V = trained.config.vocabularySize;
    const whole = await trained.logits(ids);
    const rows = await cachedLogits(trained, ids, Array<number>(ids.length).fill(1));
    assert.is(rows.length, ids.length);
    for (const { position, logits } of rows) {
      close(logits, whole.subarray(position * V, (position + 1) * V), 5e-6, `logits at ${position}`);
    }
  });

  generate(`${name}: byte tokens at the end of a prompt are not repeated in its continuation`, async () => {
    using trained = await DenseModel.load(device, path);
    const prompt = 'She saw a 🦊';
    assert.match(trained.tokenizer.idToToken(trained.tokenizer.encode(prompt).at(-1)!)!, /^<0x/);
    const { ids, text } = await run(trained, prompt, { temperature: 0, maxTokens: 30 });
    const all = trained.tokenizer.decode([...trained.tokenizer.encode(prompt), ...ids], { skipSpecials: true });
    assert.is(prompt + text, all);
  });
}

if (existsSync(shared('data/models/stories260K'))) {
  const path = shared('data/models/stories260K');
  const golden = JSON.parse(await readFile(join(path, 'golden.json'), 'utf8')) as Golden;

  generate('stories260K: tells the story in its documentation, character for character', async () => {
    using trained = await DenseModel.load(device, path);
    const { text, ids } = await run(trained, '', { temperature: 0, maxTokens: 256 });
    assert.is(text, golden.published_reference!.text);
    assert.is(ids.length, 256);
  });

  generate('stories260K: a stop string of words is found', async () => {
    using trained = await DenseModel.load(device, path);
    const { text, finish } = await run(trained, 'Once upon a time', { temperature: 0, stop: ['named Lily'] });
    assert.is(text, ', there was a little girl ');
    assert.is(finish, 'stop');
  });

  generate('stories260K: the event loop turns while tokens are computed', async () => {
    using trained = await DenseModel.load(device, path);
    let turns = 0;
    let longest = 0;
    let last = performance.now();
    const turn = () => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      turns++;
      next = setImmediate(turn);
    };
    let next = setImmediate(turn);
    try {
      using cache = trained.createCache(1, 512);
      await trained.extend(cache, randomTokens(500, 1, 512));
      assert.ok(turns > 20, `${turns} turns while a long prompt was read`);
      turns = 0;
      assert.is((await run(trained, 'Once', { maxTokens: 50 })).ids.length, 50);
      assert.ok(turns > 20, `${turns} turns while 50 tokens were generated`);
    } finally {
      clearImmediate(next);
    }
    assert.ok(longest < 500, `the event loop stood still for ${longest} ms`);
  });
}

generate('nothing is left in device memory', async () => {
  model.dispose();
  assert.is(await liveBytes(device), 0);
});

generate.run();
