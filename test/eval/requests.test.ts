/** What tokenizers make of contexts and answers: nothing is certain because it has no tokens. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DataFolder } from '../../lib/eval/data/data-folder.js';
import { readOwnTask } from '../../lib/eval/own/own-task.js';
import { type ChoiceRequest, scoreChoices } from '../../lib/eval/run/choices.js';
import { generateTexts } from '../../lib/eval/run/generations.js';
import { runTask } from '../../lib/eval/run/run-task.js';
import { scoreTexts } from '../../lib/eval/run/texts.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { appendTokens } from '../../lib/model/decoding/append-tokens.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';

const [TH, THE, END, BEGIN] = [256, 257, 258, 259];
const CONFIG = { ...CONFIGS.llama, vocabularySize: 260, maxPositions: 64 };

interface TokenizerChanges {
  /** Of tokenizer_config.json; default: the end-of-text token alone. */
  bos?: string | null;
  eos?: string | null;
  /** What frames texts: 'A' stands for the text. */
  template?: readonly (number | 'A')[];
}

/** A dense model and an ensemble of two, whose tokenizer merges t, h and e. */
async function withModels(
  { bos = null, eos = '<|end|>', template }: TokenizerChanges,
  use: (model: LanguageModel, name: string, device: Device) => Promise<void>,
): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const names = ['one', 'two'].map((name) => join(folder, name));
    for (const [seed, path] of names.entries()) {
      const config = { ...CONFIG, eosTokens: eos === null ? [] : [END] };
      await writeModel(device, path, { config, seed });
      const json = JSON.parse(await readFile(join(path, 'tokenizer.json'), 'utf8'));
      Object.assign(json.model.vocab, { th: TH, the: THE });
      json.model.merges = ['t h', 'th e'];
      const [end] = json.added_tokens;
      json.added_tokens = [
        { ...end, id: END },
        { ...end, id: BEGIN, content: '<|begin|>' },
      ];
      if (template) {
        const pieces = template.map((piece) =>
          piece === 'A' ? { Sequence: { id: 'A', type_id: 0 } } : { SpecialToken: { id: `${piece}`, type_id: 0 } },
        );
        const specials = Object.fromEntries(
          template.filter((piece) => piece !== 'A').map((id) => [id, { id: `${id}`, ids: [id], tokens: [`${id}`] }]),
        );
        json.post_processor = { type: 'TemplateProcessing', single: pieces, pair: pieces, special_tokens: specials };
      }
      await writeFile(join(path, 'tokenizer.json'), JSON.stringify(json));
      await writeFile(join(path, 'tokenizer_config.json'), JSON.stringify({ bos_token: bos, eos_token: eos }));
    }
    using dense = await DenseModel.load(device, names[0]!);
    await use(dense, 'dense', device);
    using ensemble = await EnsembleModel.create(device, { hub: names[0]!, experts: { two: names[1]! } });
    await use(ensemble, 'ensemble', device);
  });
}

async function choose(model: LanguageModel, requests: ChoiceRequest[], batchSize: number) {
  const results = await collect(scoreChoices(model, requests, { batchSize, sharePrefixes: true }));
  return results.sort((a, b) => a.index - b.index).map(({ scores }) => scores);
}

/** The log-probability of the tokens behind the first `given`. */
async function sumOf(model: LanguageModel, tokens: readonly number[], given: number): Promise<number> {
  const inputs = Int32Array.from(tokens.slice(0, -1));
  const targets = Int32Array.from(tokens.slice(1), (token, i) => (i + 1 < given ? -1 : token));
  const losses = await model.losses({ inputs, targets, batch: 1, tokens: inputs.length });
  return -losses.reduce((sum, loss) => sum + loss, 0);
}

const near = (got: number, want: number) => assert.ok(Math.abs(got - want) < 1e-4 * Math.abs(want), `${got}, ${want}`);
const bytes = (text: string) => [...Buffer.from(text)];

test('an answer that the tokenizer merges into its context is refused, whatever the model and the batch', async () => {
  await withModels({}, async (model) => {
    const good = { context: 'the dog', continuations: [' ran', ' sat'] };
    for (const batchSize of [1, 8]) {
      const asked = (context: string, continuation: string) =>
        choose(model, [good, { context, continuations: [' x', continuation] }], batchSize);
      // As many tokens as the context, and fewer: 't', 'h' + 'e' is one token where 't', 'h' are one, too.
      await fails(() => asked('Lily saw th', 'e'), 'BAD_DATA', /request 1: choice 1, "e", has no token .*Lily saw th/);
      await fails(() => asked('Lily saw t', 'h'), 'BAD_DATA', /choice 1, "h"/);
      await fails(() => asked('Lily', ''), 'BAD_DATA', /choice 1, "", is empty/);
      await fails(() => asked('', ''), 'BAD_DATA', /choice 1, "", is empty/);
    }
  });
});

test('blanks are tokens, wherever they stand', async () => {
  await withModels({}, async (model) => {
    const requests = [
      { context: 'Lily ', continuations: ['', 'the'] },
      { context: 'Lily', continuations: [' ', '\n\n'] },
    ];
    const scores = await choose(model, requests, 8);
    near(scores[0]![0]!.logProbability, await sumOf(model, bytes('Lily '), 4));
    near(scores[0]![1]!.logProbability, await sumOf(model, [...bytes('Lily '), THE], 4));
    near(scores[1]![0]!.logProbability, scores[0]![0]!.logProbability);
    near(scores[1]![1]!.logProbability, await sumOf(model, bytes('Lily\n\n'), 4));
    assert.equal(await choose(model, requests, 1), scores);
  });
});

test('before a context of blanks stands the token that begins texts, or else the one that ends them', async () => {
  const cases: [TokenizerChanges, number][] = [
    [{}, END],
    [{ bos: '<|begin|>' }, BEGIN],
    [{ bos: '<|begin|>', template: [BEGIN, 'A'] }, BEGIN],
  ];
  for (const [changes, prefix] of cases) {
    await withModels(changes, async (model, name) => {
      const requests = ['some words before', ' ', '', '\n \t', '\u00a0'].map((context) => ({
        context,
        continuations: ['yes', 'no', ' the'],
      }));
      const scores = await choose(model, requests, 8);
      for (const [i, { context, continuations }] of requests.entries()) {
        if (i === 0) continue;
        for (const [c, continuation] of continuations.entries()) {
          const tokens = [prefix, ...model.tokenizer.encode(context + continuation, { specials: false })];
          near(scores[i]![c]!.logProbability, await sumOf(model, tokens, 1));
        }
      }
      assert.equal(await choose(model, requests, 1), scores, name);
      assert.equal(await choose(model, requests, 3), scores, name);
    });
  }
});

test('a continuation may begin with the prefix token itself, and is more than that', async () => {
  await withModels({}, async (model) => {
    const scores = await choose(model, [{ context: '', continuations: ['<|end|>yes', 'yes'] }], 8);
    assert.equal(scores[0]![0], scores[0]![1]);
    await fails(
      () =>
        choose(
          model,
          [
            { context: ' ', continuations: ['yes'] },
            { context: '', continuations: ['<|end|>'] },
          ],
          8,
        ),
      'BAD_DATA',
      /request 1: choice 0/,
    );
  });
});

test('a token that the tokenizer puts behind texts is none of an answer, nor of a prompt', async () => {
  const ended: TokenizerChanges = { bos: '<|begin|>', template: [BEGIN, 'A', END] };
  await withModels(ended, async (model) => {
    const requests = [{ context: 'Lily saw', continuations: [' x', ' yy'] }];
    const [scores] = await choose(model, requests, 8);
    near(scores![0]!.logProbability, await sumOf(model, [BEGIN, ...bytes('Lily saw x')], 9));
    near(scores![1]!.logProbability, await sumOf(model, [BEGIN, ...bytes('Lily saw yy')], 9));
    await fails(
      () => choose(model, [{ context: 'Lily saw th', continuations: ['e'] }], 8),
      'BAD_DATA',
      /no token of its own/,
    );
    const options = { batchSize: 1, sharePrefixes: true };
    const request = { prompt: 'Lily', generation: { stop: [], maxTokens: 5 }, seed: 0 };
    const [written] = await collect(generateTexts(model, [request], options));
    let want = '';
    const prompt = [BEGIN, ...bytes('Lily')];
    for await (const { text } of model.generate(prompt, { temperature: 0, maxTokens: 5, stop: ['never'] }))
      want += text;
    assert.is(written!.text, want);
  });
});

test('texts are generated behind the prefix token where there is no prompt, and behind blanks where these are one', async () => {
  await withModels({}, async (model) => {
    const generation = { stop: [], maxTokens: 6 };
    const requests = ['', ' ', '\n', 'some words'].map((prompt, seed) => ({ prompt, generation, seed }));
    const write = async (batchSize: number) =>
      (await collect(generateTexts(model, requests, { batchSize, sharePrefixes: true })))
        .sort((a, b) => a.index - b.index)
        .map(({ text }) => text);
    const texts = await write(8);
    assert.equal(await write(1), texts);
    for (const [i, prompt] of [[END], bytes(' '), bytes('\n')].entries()) {
      let want = '';
      for await (const { text } of model.generate(prompt, { temperature: 0, maxTokens: 6, stop: ['never'] }))
        want += text;
      assert.is(texts[i], want);
    }
  });
});

test('an empty text is refused, not certain; blanks are a text', async () => {
  for (const changes of [{}, { bos: '<|begin|>', template: [BEGIN, 'A'] } as const]) {
    await withModels(changes, async (model) => {
      for (const batchSize of [1, 8]) {
        const score = (...texts: string[]) => collect(scoreTexts(model, texts, { batchSize, sharePrefixes: true }));
        await fails(() => score('yes', ''), 'BAD_DATA', /request 1: the text is empty/);
        const [blank] = await score(' ');
        const first = model.tokenizer.bosToken ?? END;
        near(blank!.logProbability, await sumOf(model, [first, ...model.tokenizer.encode(' ')], 1));
      }
    });
  }
});

test('without a token that begins or ends texts, what needs one is refused', async () => {
  await withModels({ eos: null }, async (model) => {
    for (const batchSize of [1, 8]) {
      const options = { batchSize, sharePrefixes: true };
      const refused = (action: () => unknown) => fails(action, 'BAD_TOKENIZER', /begins or ends texts/);
      for (const context of ['', ' ', '\n\n']) {
        await refused(() => choose(model, [{ context, continuations: ['yes'] }], batchSize));
      }
      const generation = { stop: [], maxTokens: 2 };
      await refused(() => collect(generateTexts(model, [{ prompt: '', generation, seed: 0 }], options)));
      await refused(() => collect(scoreTexts(model, ['some text'], options)));
      const [scores] = await choose(model, [{ context: 'Lily', continuations: [' ran'] }], batchSize);
      assert.ok(scores![0]!.logProbability < 0, 'a context is enough');
    }
  });
});

test('a task names the document and the choice that cannot be scored', async () => {
  await withModels({}, async (model) => {
    await inTemporaryFolder(async (folder) => {
      const rows = [
        { q: 'A cat sat on', choices: [' a', ' the'] },
        { q: 'Lily saw th', choices: [' a', 'e'] },
      ];
      await writeFile(join(folder, 'rows.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'));
      await writeFile(
        join(folder, 'task.yaml'),
        'task: merged\ndata: rows.jsonl\noutput_type: multiple_choice\ndoc_to_text: "{{q}}"\ntarget_delimiter: ""\n' +
          'doc_to_choice: choices\ndoc_to_target: 0\n',
      );
      const task = await readOwnTask(join(folder, 'task.yaml'));
      const run = (batchSize: number) =>
        runTask(model, task, { data: new DataFolder(folder), batchSize, sharePrefixes: true, seed: 0 });
      for (const batchSize of [1, 8]) {
        await fails(() => run(batchSize), 'BAD_DATA', /document 1 of 'merged': choice 1, "e"/);
      }
    });
  });
});

test('no place outside a sequence is ever read', async () => {
  await withModels({}, async (model, _, device) => {
    if (!(model instanceof DenseModel)) return;
    using cache = model.createCache(2, 16);
    const sequences = [[1, 2, 3], [4]];
    for (const [sequence, index] of [
      [0, -1],
      [1, -1],
      [1, 1],
      [2, 0],
    ] as const) {
      await fails(() => appendTokens(model, cache, sequences, [{ sequence, index }]), 'BAD_OPTION', /place/);
    }
    assert.equal(cache.lengths, [0, 0]);
    using x = device.full([4, 2], 1);
    using y = device.empty([1, 2]);
    for (const row of [-1, 4]) {
      using rows = device.tensor(Int32Array.of(row), [1]);
      device.run('gather_rows', { y, x, rows });
      await fails(() => y.read(), 'BAD_SHAPE', /gather_rows/);
    }
  });
});

test.run();
