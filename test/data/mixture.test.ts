import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Mixture, type MixtureDomain, type MixtureOptions, type MixtureState } from '../../lib/data/mixture.js';
import { heldOutBatches, IGNORED, windowCount } from '../../lib/data/packing.js';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { collect, fails } from './data-fixtures.js';

/** A stream whose tokens tell their domain and place: domain * 1,000,000 + offset. */
function domain(name: string, index: number, length: number, weight: number): MixtureDomain {
  const tokens = Array.from({ length }, (_, offset) => index * 1_000_000 + offset);
  return { name, tokens: new ArrayTokens(tokens), weight };
}

const OPTIONS: MixtureOptions = { sequenceLength: 8, batchSize: 4, seed: 1 };
const paper = () => [
  domain('math', 0, 300, 0.15),
  domain('code', 1, 170, 0.15),
  domain('multilingual', 2, 90, 0.15),
  domain('general', 3, 1000, 0.55),
];

/** The rows of the next `count` batches: domain, inputs and targets. */
async function rows(mixture: Mixture, count: number) {
  const all: { domain: string; inputs: number[]; targets: number[] }[] = [];
  for (let i = 0; i < count; i++) {
    const { inputs, targets, domains, batch, tokens } = await mixture.next();
    assert.is(inputs.length, batch * tokens);
    assert.is(targets.length, batch * tokens);
    for (const [row, domain] of domains.entries()) {
      const part = (values: Int32Array) => [...values.subarray(row * tokens, (row + 1) * tokens)];
      all.push({ domain, inputs: part(inputs), targets: part(targets) });
    }
  }
  return all;
}

test('a stream has as many windows as have a target for each of their tokens', () => {
  assert.equal(
    [0, 1, 8, 9, 16, 17, 25].map((length) => windowCount(length, 8)),
    [0, 0, 0, 1, 1, 2, 3],
  );
});

test('a row holds consecutive tokens of its domain from a multiple of T on, and as targets the following ones', async () => {
  const names = paper().map(({ name }) => name);
  for (const { domain, inputs, targets } of await rows(new Mixture(paper(), OPTIONS), 50)) {
    const first = inputs[0]!;
    assert.is(names[Math.floor(first / 1_000_000)], domain);
    assert.is((first % 1_000_000) % 8, 0);
    assert.equal(
      inputs,
      Array.from({ length: 8 }, (_, index) => first + index),
    );
    assert.equal(
      targets,
      Array.from({ length: 8 }, (_, index) => first + index + 1),
    );
  }
});

test('domains are drawn by their weights, whatever these add up to, and those of weight 0 never', async () => {
  const shares = { math: 0.15, code: 0.15, multilingual: 0.15, general: 0.55, none: 0, short: 0 };
  for (const scale of [1, 40]) {
    const domains = [domain('none', 4, 500, 0), ...paper(), domain('short', 5, 3, 0)];
    const scaled = domains.map((domain) => ({ ...domain, weight: domain.weight * scale }));
    const drawn = await rows(new Mixture(scaled, { ...OPTIONS, batchSize: 100 }), 40);
    for (const [name, share] of Object.entries(shares)) {
      const count = drawn.filter((row) => row.domain === name).length;
      // Four standard deviations of a binomial with n = 4,000.
      const tolerance = 4 * Math.sqrt(4000 * share * (1 - share));
      assert.ok(Math.abs(count - 4000 * share) <= tolerance, `${name}: ${count}`);
    }
  }
});

test('every window of a domain comes once before any comes again, in a new order each time', async () => {
  const windows = windowCount(170, 8);
  const drawn = await rows(new Mixture([domain('code', 0, 170, 1)], { ...OPTIONS, batchSize: windows }), 5);
  const orders: string[] = [];
  for (let epoch = 0; epoch < 5; epoch++) {
    const places = drawn.slice(epoch * windows, (epoch + 1) * windows).map(({ inputs }) => inputs[0]! / 8);
    assert.equal(
      [...places].sort((a, b) => a - b),
      Array.from({ length: windows }, (_, index) => index),
    );
    orders.push(places.join());
  }
  assert.is(new Set(orders).size, 5);
});

test('rows depend on the seed and not on the batch size', async () => {
  const reference = await rows(new Mixture(paper(), OPTIONS), 30);
  assert.equal(await rows(new Mixture(paper(), OPTIONS), 30), reference);
  assert.equal(await rows(new Mixture(paper(), { ...OPTIONS, batchSize: 12 }), 10), reference);
  const other = await rows(new Mixture(paper(), { ...OPTIONS, seed: 2 }), 30);
  assert.is.not(JSON.stringify(other), JSON.stringify(reference));
  // Domains of the same length have orders of their own.
  const twins = [domain('a', 0, 801, 1), domain('b', 0, 801, 1)];
  const drawn = await rows(new Mixture(twins, { ...OPTIONS, batchSize: 40 }), 1);
  const order = (name: string) =>
    drawn
      .filter((row) => row.domain === name)
      .slice(0, 5)
      .map((row) => row.inputs[0]);
  assert.is.not(String(order('a')), String(order('b')));
});

test('calls may overlap: rows are taken in the order of the calls', async () => {
  const mixture = new Mixture(paper(), OPTIONS);
  const batches = await Promise.all([mixture.next(), mixture.next(), mixture.next()]);
  const again = new Mixture(paper(), OPTIONS);
  for (const batch of batches) assert.equal(await again.next(), batch);
});

test('a run that is resumed anywhere goes on bit for bit', async () => {
  const total = 60;
  const straight = await rows(new Mixture(paper(), OPTIONS), total);
  for (const before of [0, 1, 7, 31, 59]) {
    const first = new Mixture(paper(), OPTIONS);
    const head = await rows(first, before);
    const json = JSON.stringify(first.state());
    const second = new Mixture(paper(), OPTIONS);
    await second.next();
    second.restore(JSON.parse(json));
    assert.is(JSON.stringify(second.state()), json);
    assert.equal([...head, ...(await rows(second, total - before))], straight, `after ${before} batches`);
  }
});

test('a run of more rows than 32 bits can count goes on', async () => {
  const mixture = new Mixture([domain('a', 0, 90, 1), domain('b', 1, 90, 1)], OPTIONS);
  const state = mixture.state();
  state.rows = 2 ** 33;
  for (const domain of state.domains) domain.rows = 2 ** 32;
  mixture.restore(state);
  const drawn = new Set((await rows(mixture, 8)).map((row) => row.domain));
  assert.equal([...drawn].sort(), ['a', 'b']);
  assert.is(mixture.state().rows, 2 ** 33 + 32);
});

test('a state of other data, options or of no sense is refused, and changes nothing', async () => {
  const mixture = new Mixture(paper(), OPTIONS);
  await mixture.next();
  const state = mixture.state();
  const { tokens } = domain('math', 0, 308, 1);
  const change = (domain: Partial<MixtureDomain>) =>
    paper().map((old, index) => (index === 0 ? { ...old, ...domain } : old));
  for (const [domains, options, message] of [
    [paper(), { ...OPTIONS, seed: 2 }, /seed was 1, now it is 2/],
    [paper(), { ...OPTIONS, sequenceLength: 4 }, /sequenceLength was 8, now it is 4/],
    [paper().slice(1), OPTIONS, /domains were \[math, code.*now they are \[code/],
    [paper().reverse(), OPTIONS, /domains were/],
    [change({ name: 'maths' }), OPTIONS, /now they are \[maths/],
    [change({ weight: 0.2 }), OPTIONS, /weight of 'math' was 0.15, now it is 0.2/],
    [change({ tokens }), OPTIONS, /'math' had 300 tokens, now it has 308/],
    [change({ tokens: domain('math', 9, 300, 1).tokens }), OPTIONS, /'math' has other text than it had/],
  ] as const) {
    const other = new Mixture(domains, options);
    const before = JSON.stringify(other.state());
    await fails(() => other.restore(state), 'BAD_DATA', message);
    assert.is(JSON.stringify(other.state()), before);
  }
  const [math, ...others] = state.domains;
  for (const malformed of [
    null,
    {},
    { ...state, rows: -1 },
    { ...state, rows: '4' },
    { ...state, rows: state.rows + 1 },
    { ...state, extra: 1 },
    { ...state, domains: [{ ...math, rows: 0.5 }, ...others] },
    { ...state, domains: {} },
  ]) {
    await fails(() => mixture.restore(malformed as MixtureState), 'BAD_DATA', /malformed/);
    assert.equal(mixture.state(), state);
  }
});

test('what cannot be mixed is a typed error', async () => {
  const mix = (domains: MixtureDomain[], options: Partial<MixtureOptions> = {}) =>
    new Mixture(domains, { ...OPTIONS, ...options });
  for (const weight of [-1, Number.NaN, Infinity]) {
    await fails(() => mix([domain('math', 0, 90, weight)]), 'BAD_OPTION', new RegExp(`'math' .*not ${weight}`));
  }
  await fails(() => mix([domain('math', 0, 90, 0)]), 'BAD_OPTION', /positive number, not 0/);
  await fails(() => mix([]), 'BAD_OPTION', /positive number, not 0/);
  const huge = [domain('a', 0, 90, 1e308), domain('b', 0, 90, 1e308)];
  await fails(() => mix(huge), 'BAD_OPTION', /positive number, not Infinity/);
  await fails(() => mix([domain('a', 0, 90, 1), domain('a', 1, 90, 1)]), 'BAD_OPTION', /different names.*\[a, a\]/);
  await fails(() => mix([domain('math', 0, 8, 1)]), 'BAD_DATA', /'math' has 8 tokens; one row takes 9/);
  assert.ok(mix([domain('math', 0, 9, 1)]));
  for (const value of [0, -1, 1.5, Number.NaN]) {
    await fails(() => mix(paper(), { sequenceLength: value }), 'BAD_OPTION', /sequenceLength/);
    await fails(() => mix(paper(), { batchSize: value }), 'BAD_OPTION', /batchSize/);
  }
  await fails(() => mix(paper(), { seed: -1 }), 'BAD_OPTION', /seed/);
});

test('a batch fails as a stream that it reads fails', async () => {
  const tokens = new ArrayTokens([...Array(90).keys()]);
  tokens.read = () => Promise.reject(new Error('disk on fire'));
  const mixture = new Mixture([{ name: 'a', tokens, weight: 1 }], OPTIONS);
  const error = await mixture.next().catch((error) => error);
  assert.is(error.message, 'disk on fire');
});

test('held-out batches predict each token but the first once and ignore the padding', async () => {
  for (const length of [2, 8, 9, 10, 32, 33, 34, 65, 100]) {
    const stream = new ArrayTokens(Array.from({ length }, (_, offset) => 500 + offset));
    const batches = await collect(heldOutBatches(stream, { sequenceLength: 8, batchSize: 4 }));
    assert.is(batches.length, Math.ceil((length - 1) / 32));
    const targets: number[] = [];
    for (const { inputs, targets: predicted, batch, tokens } of batches) {
      assert.equal([inputs.length, predicted.length, batch, tokens], [32, 32, 4, 8]);
      for (const [index, target] of predicted.entries()) {
        if (target === IGNORED) assert.is(inputs[index], 0);
        else assert.is(inputs[index], target - 1);
        if (target !== IGNORED) targets.push(target);
      }
    }
    assert.equal(
      targets,
      Array.from({ length: length - 1 }, (_, offset) => 501 + offset),
      `length ${length}`,
    );
    assert.equal(await collect(heldOutBatches(stream, { sequenceLength: 8, batchSize: 4 })), batches);
  }
});

test('held-out batches end after maxTokens, and refuse what has nothing to predict', async () => {
  const stream = new ArrayTokens(Array.from({ length: 100 }, (_, offset) => 500 + offset));
  for (const maxTokens of [1, 8, 31, 32, 33, 99, 1000, Infinity]) {
    const batches = await collect(heldOutBatches(stream, { sequenceLength: 8, batchSize: 4, maxTokens }));
    const targets = batches.flatMap((batch) => [...batch.targets].filter((target) => target !== IGNORED));
    assert.equal(
      targets,
      Array.from({ length: Math.min(99, maxTokens) }, (_, offset) => 501 + offset),
    );
  }
  const evaluate = (length: number, options = {}) =>
    collect(
      heldOutBatches(new ArrayTokens(new Array(length).fill(7)), { sequenceLength: 8, batchSize: 4, ...options }),
    );
  await fails(() => evaluate(0), 'BAD_DATA', /0 token\(s\) has nothing to predict/);
  await fails(() => evaluate(1), 'BAD_DATA', /heldOutFraction/);
  await fails(() => evaluate(50, { maxTokens: 0 }), 'BAD_OPTION', /maxTokens/);
  await fails(() => evaluate(50, { maxTokens: Number.NaN }), 'BAD_OPTION', /maxTokens/);
  await fails(() => evaluate(50, { batchSize: 0 }), 'BAD_OPTION', /batchSize/);
});

test.run();
