import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.js';
import { exists } from '../../lib/base/file.js';
import { callCli, listFiles, writeProject } from '../support/cli.js';
import { inTemporaryFolder } from '../support/models.js';
import { readSvg } from '../support/svg.js';

async function inProject(use: (at: (name: string) => string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    await use((name) => join(folder, name));
  });
}

const shrink = (at: (name: string) => string, ...args: string[]) =>
  callCli('shrink', at('code'), '--hub', at('hub'), '--threads', '1', ...args);

test('an expert becomes an adapter, which is an expert at once; the error of each matrix is told', async () => {
  await inProject(async (at) => {
    const { stdout, stderr, error } = await shrink(at, '--rank', '3', '--out', at('small'));
    assert.is(error, undefined, error?.message);
    const [head, , ...rows] = stdout.trim().split('\n');
    assert.match(head!, /^layer +q_proj +k_proj +v_proj +o_proj +gate_proj +up_proj +down_proj$/);
    assert.is(rows.length, 3);
    for (const row of rows) assert.match(row, /^ +\d( +0\.\d{3}){7}$/);
    assert.match(stderr, `The adapter is in '${at('small')}': `);
    const checked = await callCli('check', '--hub', at('hub'), '--expert', `code=${at('small')}`, '--json');
    const { members, findings } = JSON.parse(checked.stdout);
    assert.equal([members[1].adapter.ranks, findings], [[3, 3], []]);
    const evaluated = await callCli('eval', at('small'), '--domain', `code=${at('code.txt')}`, '--cache', at('cache'));
    assert.is(evaluated.error, undefined, evaluated.error?.message);

    const again = await shrink(at, '--rank', '3', '--out', at('small'));
    assert.is(again.error?.code, 'BAD_OPTION');
    assert.match(again.error!.message, 'exists and is not empty');
  });
});

test('what is left as it is in the hub is said; ranks that differ stand beside the errors; JSON has it all', async () => {
  await inProject(async (at) => {
    const options = ['--energy', '0.7', '--whole', 'norms', '--dtype', 'bf16'];
    const { stdout, stderr } = await shrink(at, ...options, '--out', at('a'));
    assert.match(stdout, /0\.\d{3} \(\d+\)/);
    assert.match(stderr, '2 tensors that differ from the hub');
    const json = JSON.parse((await shrink(at, ...options, '--out', at('b'), '--json')).stdout);
    assert.equal(Object.keys(json), ['hub', 'expert', 'adapter']);
    assert.equal(json.adapter.left, ['model.embed_tokens.weight', 'lm_head.weight']);
    assert.is(json.adapter.matrices.length, 21);
    for (const { error } of json.adapter.matrices) assert.ok(error ** 2 <= 0.3 + 1e-5);
    assert.ok(json.adapter.error > 0 && json.adapter.error ** 2 < 0.3);
    const file = (name: string) => readFile(join(at(name), 'adapter_model.safetensors'));
    assert.ok((await file('a')).equals(await file('b')));
  });
});

test('ranks are compared on held-out text, in a table and a picture', async () => {
  await inProject(async (at) => {
    const text = ['--domain', `code=${at('code.txt')}`, '--domain', `math=${at('math.txt')}`];
    const look = ['--cache', at('cache'), '--held-out-fraction', '0.5', '--max-tokens', '300'];
    const args = [...text, ...look, '--ranks', '8,1,2,16,8', '--svg', at('ranks.svg')];
    const { stdout, stderr, error } = await shrink(at, ...args);
    assert.is(error, undefined, error?.message);
    const [head, , ...rows] = stdout.trim().split('\n');
    assert.match(head!, /^model +parameters +error +code +math +mean$/);
    const cells = rows.map((row) => row.replace(/^rank (\d+)/, 'rank-$1').split(/ +/));
    assert.equal(
      cells.map(([model]) => model),
      ['hub', 'rank-1', 'rank-2', 'rank-8', 'rank-16', 'expert'],
    );
    // Of full rank it is the expert.
    const [full, expert] = [cells[4]!, cells[5]!];
    assert.is(full[2], '0.000');
    assert.equal(
      full.slice(3).map((loss) => Number.parseFloat(loss).toFixed(2)),
      expert.slice(3).map((loss) => Number.parseFloat(loss).toFixed(2)),
    );
    assert.match(stderr, `The comparison is in '${at('ranks.svg')}'`);
    const { texts, lines } = readSvg(await readFile(at('ranks.svg'), 'utf8'));
    const words = texts.map(({ text }) => text);
    for (const word of ['code as an adapter of its hub', 'code', 'math', 'rank', 'loss', 'hub', 'expert', 'adapter'])
      assert.ok(words.includes(word), word);
    for (const rank of ['1', '2', '8', '16']) assert.is(words.filter((word) => word === rank).length, 2, rank);
    assert.equal(
      lines.filter(({ points }) => points > 1).map(({ points }) => points),
      [2, 2, 4, 2, 2, 4],
    );

    const { losses } = JSON.parse((await shrink(at, ...text, ...look, '--ranks', '2', '--json')).stdout);
    assert.equal(
      losses.map(({ model, rank, losses }: { model: string; rank: number; losses: unknown[] }) => [
        model,
        rank,
        losses.length,
      ]),
      [
        ['hub', null, 2],
        ['rank 2', 2, 2],
        ['expert', null, 2],
      ],
    );
  });
});

const FAULTS: [args: string[], code: ErrorCode, message: string][] = [
  [[], 'BAD_OPTION', 'say what to do'],
  [['--rank', '2'], 'BAD_OPTION', 'an adapter takes --out'],
  [['--out', 'OUT'], 'BAD_OPTION', 'an adapter takes --out'],
  [['--rank', '2', '--energy', '0.5', '--out', 'OUT'], 'BAD_OPTION', 'give one of the two'],
  [['--rank', '0', '--out', 'OUT'], 'BAD_OPTION', 'whole number from 1'],
  [['--rank', '64', '--out', 'OUT'], 'BAD_OPTION', 'rank 64 is more than any matrix of these models has: 16'],
  [['--ranks', '2,4'], 'BAD_OPTION', 'a comparison takes --ranks, and held-out text'],
  [['--domain', 'code=TEXT'], 'BAD_OPTION', 'a comparison takes --ranks, and held-out text'],
  [['--ranks', '2,x', '--domain', 'code=TEXT'], 'BAD_OPTION', 'ranks'],
  [['--rank', '2', '--out', 'OUT', '--svg', 'x.svg'], 'BAD_OPTION', '--svg draws a comparison'],
  [['--ranks', '2', '--domain', 'code=TEXT', '--svg', 'x.html'], 'BAD_OPTION', 'that of another kind'],
  [['--rank', '2', '--out', 'OUT', '--whole', 'heads'], 'BAD_OPTION', "expected 'embeddings'"],
  [['--rank', '2', '--out', 'TEXT'], 'BAD_OPTION', 'is a file'],
];

test('what cannot be is told, and nothing is written', async () => {
  await inProject(async (at) => {
    const files = await listFiles(at('.'));
    for (const [args, code, message] of FAULTS) {
      const placed = args.map((arg) => arg.replace('OUT', at('out')).replace('TEXT', at('code.txt')));
      const { error } = await shrink(at, ...placed);
      assert.is(error?.code, code, `${args}: ${error?.message}`);
      assert.match(error!.message, message);
    }
    const same = await callCli('shrink', at('hub'), '--hub', at('hub'), '--rank', '2', '--out', at('out'));
    assert.match(same.error?.message ?? '', 'there is nothing to make an adapter of');
    assert.not.ok(await exists(at('out')));
    assert.equal(await listFiles(at('.')), files);
    await writeFile(at('shrink.yaml'), `hub: ${at('hub')}\nrank: 2\nwhole: norms\nout: ${at('out')}\n`);
    assert.is((await callCli('shrink', at('code'), '--config', at('shrink.yaml'))).error, undefined);
    assert.ok(await exists(at('out')));
  });
});

test.run();
