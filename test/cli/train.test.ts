import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.js';
import { exists } from '../../lib/base/file.js';
import { readConfig } from '../../lib/checkpoint/dense-checkpoint.js';
import { Tokenizer } from '../../lib/data/tokenizer.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { callCli, listFiles, runCli, startCli, until, writeProject } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { inTemporaryFolder } from '../support/models.js';
import { weights } from '../support/training.js';

type Options = Record<string, string | string[] | true>;

/** A command line out of options; `out` and the like are paths within `folder`. */
function train(folder: string, options: Options): string[] {
  const all: Options = {
    out: join(folder, 'out'),
    domain: [`code=${join(folder, 'code.txt')}`, `math=${join(folder, 'math.txt')}`],
    cache: join(folder, 'cache'),
    steps: '4',
    'batch-size': '2',
    'sequence-length': '16',
    'learning-rate': '1e-2',
    'evaluate-tokens': '300',
    threads: '1',
    ...options,
  };
  const words = Object.entries(all).flatMap(([name, value]) =>
    [value].flat().flatMap((text) => (text === true ? [`--${name}`] : [`--${name}`, text])),
  );
  return ['train', ...words];
}

const continued = (folder: string, options: Options = {}) => train(folder, { from: join(folder, 'hub'), ...options });

const SCRATCH = { width: '16', layers: '2', heads: '4', 'key-value-heads': '2', tied: true } as const;

async function inProject(use: (folder: string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    await use(folder);
  });
}

test('train makes a model from scratch, with a tokenizer of its own', async () => {
  await inProject(async (folder) => {
    const args = train(folder, { ...SCRATCH, 'train-tokenizer': '280', dtype: 'bf16' });
    const { stdout, stderr, error } = await callCli(...args);
    assert.is(error, undefined);
    assert.match(stdout, /^code +\d\.\d{3} +\d+\.\d{2} +\d+$/m);
    assert.match(stderr, `The model is in '${join(folder, 'out')}'`);

    const config = await readConfig(join(folder, 'out'));
    assert.is(config.width, 16);
    assert.is(config.embedding.tied, true);
    assert.is(config.maxPositions, 16, 'as many positions as a sequence has tokens');
    assert.is(config.feedForward.width, 64, '8/3 of the width, up to a multiple of 32');
    assert.is(config.vocabularySize, 280);
    assert.is(config.dtype, 'BF16');
    const { hash } = await Tokenizer.load(join(folder, 'out'));
    assert.is((await Tokenizer.load(join(folder, 'out.training', 'tokenizer'))).hash, hash);
    using device = openCpu();
    using model = await DenseModel.load(device, join(folder, 'out'));
    assert.ok(Number.isFinite(await model.loss({ inputs: ids(1), targets: ids(2), batch: 1, tokens: 2 })));
  });
});

test('a config.json gives the shape of a new model, and options win over it', async () => {
  await inProject(async (folder) => {
    const json = { model_type: 'qwen3', hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, head_dim: 6 };
    await writeFile(join(folder, 'small.json'), JSON.stringify({ ...json, intermediate_size: 40, rope_theta: 5000 }));
    const options = { 'config-model': join(folder, 'small.json'), 'key-value-heads': '2', layers: '1' };
    const args = train(folder, { ...options, tokenizer: join(folder, 'hub'), steps: '1' });
    assert.is((await callCli(...args)).error, undefined);
    const config = await readConfig(join(folder, 'out'));
    assert.is(config.family, 'qwen3');
    assert.is(config.layers, 1);
    assert.is(config.attention.keyValueHeads, 2);
    assert.is(config.feedForward.width, 40);
    assert.equal(config.rope.global, { kind: 'default', theta: 5000 });
    assert.is(config.vocabularySize, 257);
    assert.equal(config.eosTokens, [256]);
  });
});

test('train continues a model; what is frozen stays, the rest changes', async () => {
  await inProject(async (folder) => {
    const { stdout, error } = await callCli(...continued(folder, { freeze: 'embeddings,head', json: true }));
    assert.is(error, undefined);
    const result = JSON.parse(stdout);
    assert.is(result.model, join(folder, 'out'));
    assert.is(result.steps, 4);
    assert.equal(
      result.heldOut.map((row: object) => Object.keys(row)),
      [1, 2].map(() => ['domain', 'loss', 'perplexity', 'tokens']),
    );
    const [before, after] = [await readWeights(join(folder, 'hub')), await readWeights(join(folder, 'out'))];
    assert.equal([...after.keys()], [...before.keys()]);
    for (const [name, values] of before) {
      const frozen = /embed_tokens|lm_head|^model\.norm/.test(name);
      assert.is(after.get(name) === values, frozen, name);
    }
  });
});

test('train makes an adapter of a model, which is an expert at once; resumed it is the same to the bit', async () => {
  await inProject(async (folder) => {
    const adapter = { lora: '3', 'lora-alpha': '6', 'lora-targets': 'q_proj,down_proj', 'checkpoint-every': '3' };
    const { stdout, stderr, error } = await callCli(...continued(folder, { ...adapter, json: true }));
    assert.is(error, undefined, error?.message);
    assert.is(JSON.parse(stdout).heldOut.length, 2);
    assert.match(stderr, `The adapter is in '${join(folder, 'out')}'`);
    const json = JSON.parse(await readFile(join(folder, 'out', 'adapter_config.json'), 'utf8'));
    assert.equal(
      [json.r, json.lora_alpha, json.target_modules, json.base_model_name_or_path],
      [3, 6, ['q_proj', 'down_proj'], join(folder, 'hub')],
    );
    const members = ['--hub', join(folder, 'hub'), '--expert', `code=${join(folder, 'out')}`];
    const checked = await callCli('check', ...members, '--json');
    const [, expert] = JSON.parse(checked.stdout).members;
    assert.equal(expert.adapter.ranks, [3, 3]);
    assert.equal(JSON.parse(checked.stdout).findings, []);

    const whole = await weights(join(folder, 'out'), 'adapter_model.safetensors');
    await rm(join(folder, 'out'), { recursive: true });
    const refused = async (message: string, changed: Options, left: readonly string[] = []) => {
      const options: Options = { ...adapter, resume: true, ...changed };
      for (const name of left) delete options[name];
      const { error } = await callCli(...continued(folder, options));
      assert.is(error?.code, 'BAD_OPTION', error?.message);
      assert.match(error!.message, message);
    };
    await refused('lora is {"rank":3,"alpha":3,', {}, ['lora-alpha']);
    await refused('lora is {"rank":2,"alpha":6,', { lora: '2' });
    await refused('is a checkpoint of an adapter: give --lora', {}, ['lora', 'lora-alpha', 'lora-targets']);
    await refused('from is "math", the run began with "hub"', { from: join(folder, 'math') });
    const dense = { out: join(folder, 'dense'), 'checkpoint-every': '3' };
    assert.is((await callCli(...continued(folder, dense))).error, undefined);
    await rm(join(folder, 'dense'), { recursive: true });
    await refused('is a checkpoint of a whole model: leave out --lora', dense);
    const kept = join(folder, 'kept');
    await rename(join(folder, 'hub'), kept);
    await cp(join(folder, 'math'), join(folder, 'hub'), { recursive: true });
    await refused('base is "', {});
    await rm(join(folder, 'hub'), { recursive: true });
    await rename(kept, join(folder, 'hub'));

    const resumed = await callCli(...continued(folder, { ...adapter, resume: true }));
    assert.is(resumed.error, undefined, resumed.error?.message);
    assert.equal(await weights(join(folder, 'out'), 'adapter_model.safetensors'), whole);
  });
});

test('a dry run says what an adapter takes', async () => {
  await inProject(async (folder) => {
    const { stdout } = await callCli(...continued(folder, { lora: '1', 'dry-run': true, json: true }));
    const plan = JSON.parse(stdout);
    const parameters = 3 * (2 * 32 + 2 * 24 + 3 * 40);
    assert.is(plan.trainedParameters, parameters);
    assert.is(plan.parameters, 14_096 + parameters);
    const dense = JSON.parse((await callCli(...continued(folder, { 'dry-run': true, json: true }))).stdout);
    assert.ok(plan.flopsPerToken < dense.flopsPerToken);
    // The weights have neither gradients nor moments.
    assert.ok(dense.trainingBytes - plan.trainingBytes > 2.5 * 4 * (14_096 - parameters));
    const held = await callCli(...continued(folder, { lora: '1', members: 'int8', 'dry-run': true, json: true }));
    // Rows of 16 and 24 numbers fill up a group of 128, so that codes take more than f32: 132 bytes a row.
    const rows = 3 * (16 + 2 * 8 + 2 * 24 + 2 * 16);
    const floats = 3 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 24 * 16);
    assert.is(JSON.parse(held.stdout).trainingBytes - plan.trainingBytes, 132 * rows - 4 * floats);
  });
});

test('the model that an adapter is trained of may be held in 8 bits, and is so when the run goes on', async () => {
  await inProject(async (folder) => {
    const options = { lora: '2', 'checkpoint-every': '3' };
    const trained = async (changed: Options) => {
      const { error } = await callCli(...continued(folder, { ...options, ...changed }));
      assert.is(error, undefined, error?.message);
      return await weights(join(folder, 'out'), 'adapter_model.safetensors');
    };
    const whole = await trained({ members: 'int8' });
    await rm(join(folder, 'out'), { recursive: true });
    const { error } = await callCli(...continued(folder, { ...options, resume: true }));
    assert.is(error?.code, 'BAD_OPTION');
    assert.match(error!.message, '"members":"int8"');
    assert.equal(await trained({ members: 'int8', resume: true }), whole);
    for (const name of ['out', 'out.training']) await rm(join(folder, name), { recursive: true });
    assert.not.equal(await trained({}), whole);
  });
});

test('a file gives the options', async () => {
  await inProject(async (folder) => {
    const file = join(folder, 'run.yaml');
    const domain = `{ code: "${join(folder, 'code.txt')}" }`;
    const lines = [
      `from: ${join(folder, 'hub')}`,
      `domain: ${domain}`,
      'steps: 2',
      'batch-size: 1',
      'sequenceLength: 8',
    ];
    await writeFile(file, [...lines, 'learningRate: 1e-3', `cache: ${join(folder, 'cache')}`].join('\n'));
    const { stdout, error } = await callCli(
      'train',
      '--config',
      file,
      '--out',
      join(folder, 'out'),
      '--steps',
      '3',
      '--json',
    );
    assert.is(error, undefined);
    assert.is(JSON.parse(stdout).steps, 3);
  });
});

test('a dry run tells what would be done, and writes nothing', async () => {
  await inProject(async (folder) => {
    const before = await listFiles(folder);
    const scratch = train(folder, { ...SCRATCH, 'train-tokenizer': '280', 'dry-run': true, accumulation: '3' });
    const text = await callCli(...scratch);
    assert.is(text.error, undefined);
    assert.match(text.stdout, 'nothing was written');
    assert.match(text.stdout, 'code: 50 % of the rows, 1 file,');

    const { stdout } = await callCli(
      ...continued(folder, { freeze: 'head', weight: 'code=0.9', 'dry-run': true, json: true }),
    );
    const plan = JSON.parse(stdout);
    assert.is(plan.parameters, 14_096);
    assert.is(plan.trainedParameters, 14_096 - 257 * 16 - 16);
    assert.is(plan.tokensPerStep, 32);
    assert.is(plan.tokens, 128);
    assert.is(plan.flops, 128 * plan.flopsPerToken);
    assert.ok(plan.trainingBytes > 4 * 4 * plan.trainedParameters);
    assert.equal(
      plan.domains.map(({ name, share, files }: Record<string, unknown>) => [name, share, files]),
      [
        ['code', 0.9, 1],
        ['math', 0.09999999999999998, 1],
      ],
    );
    assert.equal(await listFiles(folder), before);
    assert.not.ok(await exists(join(folder, 'cache')));
  });
});

/** Options that cannot be, and what is to be said of them. */
const FAULTS: [Options, ErrorCode, string][] = [
  [{}, 'BAD_OPTION', 'say what to train: --from FOLDER'],
  [{ width: '16', layers: '2' }, 'BAD_OPTION', '(--heads missing)'],
  [{ ...SCRATCH }, 'BAD_OPTION', 'either --tokenizer FOLDER or --train-tokenizer TOKENS'],
  [{ ...SCRATCH, tokenizer: 'hub', 'train-tokenizer': '300' }, 'BAD_OPTION', 'either --tokenizer'],
  [{ ...SCRATCH, freeze: 'head' }, 'BAD_OPTION', 'give --from'],
  [{ lora: '4' }, 'BAD_OPTION', '--lora trains an adapter of an existing model: give --from'],
  [{ from: 'hub', 'lora-alpha': '4' }, 'BAD_OPTION', 'give its rank with --lora'],
  [{ from: 'hub', 'lora-targets': 'q_proj' }, 'BAD_OPTION', 'give its rank with --lora'],
  [{ from: 'hub', members: 'int8' }, 'BAD_OPTION', 'give its rank with --lora'],
  [{ from: 'hub', lora: '4', freeze: 'head' }, 'BAD_OPTION', 'leave out --freeze'],
  [{ from: 'hub', lora: '4', 'lora-targets': 'wq' }, 'BAD_OPTION', '"wq" names nothing in the base'],
  [{ from: 'hub', lora: '0' }, 'BAD_OPTION', 'whole number from 1'],
  [{ from: 'hub', width: '32' }, 'BAD_OPTION', 'width cannot be chosen with it'],
  [{ from: 'hub', 'sequence-length': '33' }, 'BAD_OPTION', '33 is more than the 32 positions'],
  [{ from: 'hub', 'warmup-steps': '5' }, 'BAD_OPTION', 'warmupSteps must be a whole number from 0 to the 4 steps'],
  [{ from: 'hub', weight: 'prose=1' }, 'BAD_OPTION', "--weight names 'prose'"],
  [{ from: 'hub', device: 'cuda' }, 'NO_DEVICE', 'cuda'],
  [{ from: 'nowhere' }, 'FILE_NOT_FOUND', 'nowhere'],
  [{ from: 'hub', domain: 'code=nowhere.txt' }, 'FILE_NOT_FOUND', 'nowhere.txt'],
  [{ ...SCRATCH, heads: '3', tokenizer: 'hub' }, 'BAD_CONFIG', 'no multiple of'],
  [{ ...SCRATCH, tokenizer: 'code.txt' }, 'FILE_NOT_FOUND', 'tokenizer'],
];

test('a dry run finds faults', async () => {
  await inProject(async (folder) => {
    for (const [options, code, message] of FAULTS) {
      const placed = Object.entries(options).map(([name, value]) => [name, place(folder, name, value)]);
      const { error } = await callCli(...train(folder, { ...Object.fromEntries(placed), 'dry-run': true }));
      assert.is(error?.code, code, `${JSON.stringify(options)}: ${error?.message}`);
      assert.match(error!.message, message);
    }
  });
});

test('train overwrites nothing', async () => {
  await inProject(async (folder) => {
    const out = join(folder, 'out');
    await mkdir(out);
    assert.is(
      (await callCli(...continued(folder, { 'checkpoint-every': '3' }))).error,
      undefined,
      'an empty folder will do',
    );
    const model = await weights(out);
    const again = await callCli(...continued(folder));
    assert.is(again.error?.code, 'BAD_OPTION');
    assert.match(again.error!.message, 'exists and is not empty');
    assert.equal(await weights(out), model);

    await rm(out, { recursive: true });
    const { error } = await callCli(...continued(folder));
    assert.is(error?.code, 'BAD_OPTION');
    assert.match(error!.message, 'has checkpoints of an unfinished run: go on with --resume');

    const file = await callCli(...continued(folder, { out: join(folder, 'code.txt') }));
    assert.is(file.error?.code, 'BAD_OPTION');
    assert.match(file.error!.message, 'is a file');
  });
});

test('a run that another process is at work on is refused; Ctrl-C saves it, --resume finishes it as if nothing had been', async () => {
  await inProject(async (folder) => {
    const options = { steps: '200' };
    const whole = await callCli(...continued(folder, { ...options, out: join(folder, 'whole') }));
    assert.is(whole.error, undefined);

    const running = startCli(continued(folder, options));
    const metrics = join(folder, 'out.training', 'metrics.jsonl');
    await until(async () => (await exists(metrics)) && (await readFile(metrics)).length > 0);
    const second = await callCli(...continued(folder, options));
    assert.is(second.error?.code, 'FOLDER_IN_USE');
    assert.is(second.stderr, '', 'no text was read before');
    running.process.kill('SIGINT');
    const { code, stderr } = await running.ended;
    assert.is(code, 130, stderr);
    assert.match(stderr, /^bts: ABORTED: stopped after step \d+ of 200, .* with --resume to go on\.$/m);
    assert.not.ok(await exists(join(folder, 'out')));

    const other = await callCli(...continued(folder, { ...options, resume: true, 'learning-rate': '1e-3' }));
    assert.is(other.error?.code, 'BAD_OPTION');
    assert.match(other.error!.message, 'learningRate is 0.001, the run began with 0.01');

    assert.is((await callCli(...continued(folder, { ...options, resume: true }))).error, undefined);
    assert.equal(await weights(join(folder, 'out')), await weights(join(folder, 'whole')));
  });
});

test('a new model resumes with the tokenizer that it began with', async () => {
  await inProject(async (folder) => {
    const options = { ...SCRATCH, 'train-tokenizer': '280', 'checkpoint-every': '3' };
    assert.is((await callCli(...train(folder, options))).error, undefined);
    const whole = join(folder, 'whole');
    await rename(join(folder, 'out'), whole);
    await rm(join(folder, 'out.training', 'tokenizer'), { recursive: true });

    const wider = await callCli(...train(folder, { ...options, width: '32', resume: true }));
    assert.is(wider.error?.code, 'BAD_OPTION');
    assert.match(wider.error!.message, 'cannot resume: width is 32');

    assert.is((await callCli(...train(folder, { ...options, resume: true }))).error, undefined);
    assert.equal(await weights(join(folder, 'out')), await weights(whole));
  });
});

test('a run is resumed with what it began with: batches, text, and the model it came from', async () => {
  await inProject(async (folder) => {
    const options = { 'checkpoint-every': '3' };
    assert.is((await callCli(...continued(folder, options))).error, undefined);
    const whole = join(folder, 'whole');
    await rename(join(folder, 'out'), whole);
    const refused = async (code: ErrorCode, message: string, changed: Options) => {
      const { error } = await callCli(...continued(folder, { ...options, resume: true, ...changed }));
      assert.is(error?.code, code, `${JSON.stringify(changed)}: ${error?.message}`);
      assert.match(error!.message, message);
    };
    await refused('BAD_OPTION', 'batchSize is 3, the run began with 2', { 'batch-size': '3' });
    await refused('BAD_OPTION', 'sequenceLength is 8, the run began with 16', { 'sequence-length': '8' });
    await refused('BAD_OPTION', 'seed is 1, the run began with 0', { seed: '1' });
    await refused('BAD_OPTION', 'steps is 5, the run began with 4', { steps: '5' });
    await refused('BAD_OPTION', 'accumulation is 2', { accumulation: '2' });
    await refused('BAD_OPTION', 'from is "math", the run began with "hub"', { from: join(folder, 'math') });
    await refused('BAD_OPTION', 'is not to be now', { freeze: 'head' });
    await refused('BAD_DATA', "weight of 'code' was 0.5, now it is 0.9", { weight: 'code=0.9' });
    await refused('BAD_DATA', "'code' had", { 'held-out-fraction': '0' });

    // As many tokens, others.
    const text = await readFile(join(folder, 'code.txt'), 'utf8');
    await writeFile(join(folder, 'code.txt'), text.replaceAll('f(', 'g('));
    await refused('BAD_DATA', "'code' has other text than it had", {});
    await writeFile(join(folder, 'code.txt'), text);

    const free = {
      threads: '2',
      recompute: 'always',
      keep: '1',
      'evaluate-every': '1',
      'evaluate-tokens': '100',
    } as const;
    const { error, stderr } = await callCli(...continued(folder, { resume: true, ...free }));
    assert.is(error, undefined, error?.message);
    assert.not.match(stderr, 'step 0');
    assert.equal(await weights(join(folder, 'out')), await weights(whole));
  });
});

test('a new model that is resumed has the tokenizer it was begun with', async () => {
  await inProject(async (folder) => {
    const options = { ...SCRATCH, tokenizer: join(folder, 'hub'), 'checkpoint-every': '3' };
    assert.is((await callCli(...train(folder, options))).error, undefined);
    await rm(join(folder, 'out'), { recursive: true });
    const { tokenizer: _, ...others } = options;
    const other = await callCli(...train(folder, { ...options, tokenizer: join(folder, 'math'), resume: true }));
    assert.match(other.error?.message ?? '', 'tokenizer is "math", the run began with "hub"');
    const trained = await callCli(...train(folder, { ...others, 'train-tokenizer': '300', resume: true }));
    assert.is(trained.error?.code, 'BAD_OPTION');
  });
});

test('--resume of a finished run says so, and does nothing', async () => {
  await inProject(async (folder) => {
    assert.is((await callCli(...continued(folder, { 'checkpoint-every': '3' }))).error, undefined);
    const model = await weights(join(folder, 'out'));
    const files = await listFiles(folder);
    const text = await callCli(...continued(folder, { resume: true }));
    assert.is(text.error, undefined);
    assert.is(
      text.stderr,
      `'${join(folder, 'out')}' is finished: its run has made all of its 4 steps. Nothing was done.\n`,
    );
    const json = await callCli(...continued(folder, { resume: true, json: true }));
    assert.equal(JSON.parse(json.stdout), { model: join(folder, 'out'), steps: 4, finished: true });
    const longer = await callCli(...continued(folder, { resume: true, steps: '8' }));
    assert.is(longer.error?.code, 'BAD_OPTION');
    assert.match(longer.error!.message, 'cannot resume: --steps is 8, the run that made');
    assert.equal(await listFiles(folder), files);
    assert.equal(await weights(join(folder, 'out')), model);

    // What is no run's is nobody's to call finished.
    await rm(join(folder, 'out.training'), { recursive: true });
    assert.match((await callCli(...continued(folder, { resume: true }))).error!.message, 'exists and is not empty');
  });
});

test('the losses before training are told first', async () => {
  await inProject(async (folder) => {
    const { stderr } = await callCli(...continued(folder));
    assert.match(stderr, /^step 0, held-out loss: code \d\.\d{3}, math \d\.\d{3}$/m);
    const none = await callCli(...continued(folder, { 'held-out-fraction': '0', out: join(folder, 'second') }));
    assert.match(none.stderr, /^loss before training: \d\.\d{3}$/m);
  });
});

test('checkpoints come by time', async () => {
  await inProject(async (folder) => {
    const { stderr } = await callCli(...continued(folder, { 'checkpoint-minutes': '1e-9' }));
    for (const step of [1, 2, 3]) assert.match(stderr, `step ${step}, saved in '${join(folder, 'out.training')}/step-`);
    assert.not.match(stderr, 'step 4, saved');
  });
});

test('--resume without a checkpoint begins at the beginning, and says so', async () => {
  await inProject(async (folder) => {
    const { stderr, error } = await callCli(...continued(folder, { resume: true }));
    assert.is(error, undefined);
    assert.match(stderr, 'the run begins at step 0');
  });
});

test('without held-out text there is nothing to evaluate', async () => {
  await inProject(async (folder) => {
    const { stdout, error } = await callCli(...continued(folder, { 'held-out-fraction': '0' }));
    assert.is(error, undefined);
    assert.is(stdout, '');
  });
});

test('training goes on where nobody reads its progress', async () => {
  await inProject(async (folder) => {
    const shell = 'set -o pipefail; "$@" 2>&1 > /dev/null | true';
    assert.is((await runCli(continued(folder), { shell })).code, 0);
    assert.ok(await exists(join(folder, 'out')));
  });
});

test('a full disk is an error that leaves nothing half written', async () => {
  await inProject(async (folder) => {
    assert.is((await callCli(...continued(folder, { steps: '1', out: join(folder, 'first') }))).error, undefined);
    // Weights have 55 KiB; what was cached by the first run need not be written again.
    const { code, stderr } = await runCli(continued(folder), { shell: 'ulimit -f 20; exec "$@"' });
    assert.is(code, 1, stderr);
    assert.match(stderr, /^bts: FILE_IO: .*failed with EFBIG.*$/m);
    assert.not.ok(await exists(join(folder, 'out')));
    const leftovers = (await readdir(folder)).filter((name) => name.startsWith('.'));
    assert.equal(leftovers, []);
    assert.is((await callCli(...continued(folder))).error, undefined);
  });
});

const ids = (first: number) => Int32Array.of(first, first + 1);

/** Options of the table above that name files are meant within the folder. */
function place(folder: string, name: string, value: Options[string]): Options[string] {
  if (typeof value !== 'string') return value;
  if (name === 'domain') return value.replace('=', `=${folder}/`);
  return ['from', 'tokenizer'].includes(name) ? join(folder, value) : value;
}

/** All weights of a model by name, as text that can be compared. */
async function readWeights(folder: string): Promise<Map<string, string>> {
  using device = openCpu();
  using model = await DenseModel.load(device, folder, { trainable: true });
  const read = model.trainable.map(async ({ name, value }) => [name, (await value.read()).join()] as const);
  return new Map(await Promise.all(read));
}

test.run();
