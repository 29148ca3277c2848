/** Mean gates: numbers against a trace, the command, the picture. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { GateSums, type MeanGates } from '../../lib/gates/gate-sums.js';
import type { GatedToken } from '../../lib/gates/gated-text.js';
import { meanGates } from '../../lib/gates/mean-gates.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { callCli, writeProject } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { close, inTemporaryFolder, randomize, randomTokens, writeModel } from '../support/models.js';
import { expectInside, readSvg } from '../support/svg.js';

test('gates are averaged over tokens and channels, without what pads the last sequence', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const [hub, a, b] = ['hub', 'a', 'b'].map((name) => join(folder, name));
    for (const [seed, path] of [hub, a, b].entries()) await writeModel(device, path!, { seed });
    const experts = { a: a!, b: b! };
    for (const gate of ['channel', 'scalar'] as const) {
      using model = await StitchedModel.create(device, { hub: hub!, experts, stitches: 2, gate });
      randomize(model, 5);
      const ids = randomTokens(12);
      const means = await meanGates(model, [{ name: 'text', heldOut: new ArrayTokens(ids) }], {
        ...{ sequenceLength: 8, batchSize: 2, maxTokens: 100 },
      });
      // Eleven tokens predict another one: eight in the first sequence, three in the second.
      const [first, second] = [await model.trace(ids.slice(0, 8)), await model.trace(ids.slice(8, 11))];
      assert.is(means.length, 2);
      for (const [s, { domain, stitch, gates }] of means.entries()) {
        assert.equal([domain, stitch], ['text', model.manifest.plan[s]]);
        expectStatistics(means[s]!, [...first[s]!.gates, ...second[s]!.gates]);
        const rows = [...first[s]!.gates, ...second[s]!.gates];
        const width = rows.length / (11 * 3);
        const want = [0, 1, 2].map((m) => {
          const own = rows.filter((_, i) => Math.floor(i / width) % 3 === m);
          return own.reduce((sum, value) => sum + value, 0) / own.length;
        });
        close(gates, want, 1e-6, gate);
        if (stitch.kind === 'experts_into_hub') close([gates.reduce((sum, value) => sum + value)], [1], 1e-6);
        else assert.is(gates[0], 0);
      }
    }
  });
});

/** The definitions once more, from all gates [N, M, G], slowly. */
function expectStatistics(found: MeanGates, gates: readonly number[]): void {
  const [N, M] = [11, 3];
  const G = gates.length / (N * M);
  const at = (n: number, m: number, c: number) => gates[(n * M + m) * G + c]!;
  const all = <T>(count: number, f: (i: number) => T) => Array.from({ length: count }, (_, i) => f(i));
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const bits = (shares: readonly number[]) =>
    -shares.reduce((sum, p) => sum + p * Math.log(p), 0) / Math.log(shares.length);
  const ofToken = (n: number, c: number) =>
    found.stitch.kind === 'experts_into_hub'
      ? bits(all(M, (m) => at(n, m, c)))
      : mean(all(M - 1, (e) => bits([at(n, e + 1, c), 1 - at(n, e + 1, c)])));
  close([found.entropy], [mean(all(N, (n) => mean(all(G, (c) => ofToken(n, c)))))], 1e-5);
  const first = found.stitch.kind === 'experts_into_hub' ? 0 : 1;
  const share = (isSo: (gate: number) => boolean) =>
    all(M, (m) => (m < first ? 0 : mean(all(N, (n) => mean(all(G, (c) => (isSo(at(n, m, c)) ? 1 : 0)))))));
  close(
    found.saturation.low,
    share((gate) => gate < 0.05),
    1e-9,
  );
  close(
    found.saturation.high,
    share((gate) => gate > 0.95),
    1e-9,
  );
  assert.equal([found.unheard, found.tokens], [[], N]);
}

test('a member that no token takes more than a hundredth of is never heard', () => {
  const merge = new GateSums({ afterLayer: 2, kind: 'experts_into_hub' }, ['hub', 'a', 'b']);
  merge.add(Float32Array.of(0.99, 0.97, 0.005, 0.01, 0.005, 0.02));
  merge.add(Float32Array.of(1, 1, 0, 0, 0, 0));
  const { unheard, saturation, entropy } = merge.result();
  assert.equal([unheard, saturation], [['a'], { low: [0, 1, 1], high: [1, 0, 0] }]);
  assert.ok(entropy > 0 && entropy < 0.1);
  const spread = new GateSums({ afterLayer: 1, kind: 'hub_into_experts' }, ['hub', 'a', 'b']);
  spread.add(Float32Array.of(0, 1, 0.5));
  assert.equal(spread.result().unheard, ['a']);
  close([spread.result().entropy], [0.5], 1e-6);
});

test('gates prints them by stitch and domain, draws them, and refuses a model that has none', async () => {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const at = (name: string) => join(folder, name);
    const text = ['--domain', `code=${at('code.txt')}`, '--domain', `math=${at('math.txt')}`, '--cache', at('cache')];
    const members = ['--hub', at('hub'), '--expert', `code=${at('code')}`];
    const sizes = ['--batch-size', '2', '--sequence-length', '16', '--evaluate-tokens', '50', '--threads', '1'];
    const steps = ['--steps', '1', '--learning-rate', '1e-3', '--no-compare', '--out', at('stitched')];
    const made = await callCli('stitch', ...members, ...text, ...sizes, ...steps);
    assert.is(made.error, undefined, made.error?.message);
    const args = [...text, '--max-tokens', '50', '--sequence-length', '16', '--threads', '1'];
    const { stdout, error } = await callCli('gates', at('stitched'), ...args, '--svg', at('gates.svg'));
    assert.is(error, undefined, error?.message);
    const [head, , ...printed] = stdout.trim().split('\n');
    assert.match(head!, /^after layer +kind +domain +hub +code +entropy +saturated % +never heard +tokens$/);
    assert.match(printed[0]!, /^ *1 +experts into hub +code +0\.\d{3} +0\.\d{3} +[01]\.\d{3} +0\.0 +- +\d+$/);
    assert.match(printed[3]!, /^ *2 +hub into experts +math +- +0\.\d{3} +[01]\.\d{3} +0\.0 +- +\d+$/);
    assert.match(await readFile(at('gates.svg'), 'utf8'), /^<svg .*[\s\S]*<\/svg>\n$/);
    const prompts = ['--prompt', 'def f(x):', '--prompt', 'Q: é?', '--threads', '1'];
    const forms = ['svg', 'html', 'csv', 'json'].flatMap((form) => [`--${form}`, at(`prompts.${form}`)]);
    const byToken = await callCli('gates', at('stitched'), ...prompts, '--max-tokens', '4', ...forms);
    assert.is(byToken.error, undefined, byToken.error?.message);
    assert.match(byToken.stdout, /^text +tokens +after layer +kind +hub +code\n/);
    expectInside(readSvg(await readFile(at('prompts.svg'), 'utf8')));
    assert.match(await readFile(at('prompts.html'), 'utf8'), /<span style="[^"]*" title="hub 0\.\d\d, code 0\.\d\d">/);
    const { texts } = JSON.parse(await readFile(at('prompts.json'), 'utf8'));
    using device = openCpu();
    using model = await StitchedModel.load(device, at('stitched'));
    const [first] = texts as { prompt: GatedToken[]; answer: GatedToken[] }[];
    const tokens = [...first!.prompt, ...first!.answer];
    assert.is(
      tokens
        .map(({ text }) => text)
        .join('')
        .slice(0, 9),
      'def f(x):',
    );
    assert.is(first!.answer.length, 4);
    const rows = await model.gates(tokens.map(({ id }) => id));
    for (const [i, { gates }] of tokens.entries()) {
      assert.is(gates === undefined, i === 0);
      for (const [s, stitch] of (gates?.stitches ?? []).entries()) {
        close([...stitch.mean], [...rows[i - 1]!.stitches[s]!.mean], 1e-6);
      }
    }
    const lines = (await readFile(at('prompts.csv'), 'utf8')).trimEnd().split('\r\n');
    const count = (texts as typeof texts).flatMap((each: typeof first) => [...each!.prompt, ...each!.answer]).length;
    // The first token of each has none; two stitches into the hub have two gates each, the one into the expert has one.
    assert.is(lines.length, 1 + 5 * (count - 2));

    const joined = await callCli('gates', at('stitched'), ...prompts, '--join', '--svg', at('joined.svg'));
    assert.is(joined.error, undefined, joined.error?.message);
    const labels = readSvg(await readFile(at('joined.svg'), 'utf8')).texts.map(({ text }) => text);
    assert.ok(labels.includes('Q: é?') && labels.includes('Gates of stitched on a text that switches'));
    const both = await callCli('gates', at('stitched'), ...prompts, ...args);
    assert.match(both.error?.message ?? '', /of prompts .* or of domains/);
    const other = await callCli('gates', at('stitched'), ...prompts, '--svg', at('x.html'));
    assert.match(other.error?.message ?? '', /--svg '.*x\.html': by its ending it is for --html/);
    const unknown = await callCli('gates', at('stitched'), ...prompts, '--csv', at('x.xls'));
    assert.match(unknown.error?.message ?? '', /x\.xls': its ending says .* one of \.svg, \.html/);
    const refused = await callCli('gates', at('hub'), ...args);
    assert.match(refused.error?.message ?? '', /not a stitched model/);
  });
});

test.run();
