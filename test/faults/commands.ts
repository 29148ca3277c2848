/** Commands in processes of their own: ended by signals, and two at once in one folder. */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { exists } from '../../lib/base/file.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { newestCheckpoint, trainingFolder } from '../../lib/train/checkpoint.js';
import { type Running, startCli, until, writeProject } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { line } from '../support/lines.js';
import { CONFIGS, writeModel } from '../support/models.js';
import { loadDense, loadStitched } from '../support/training.js';
import { inFolder, root } from './walk.js';

interface Command {
  name: string;
  args: readonly string[];
  /** Whether it has begun what a signal interrupts. */
  isUnderWay: (folder: string, running: Running) => boolean | Promise<boolean>;
  /** Whether a signal is an orderly end of it. */
  endsWell?: boolean;
  /** Fails unless what it saved is whole. */
  check?: (folder: string) => Promise<void>;
  /** Whether two of them cannot share their folder. */
  locks?: boolean;
}

const TEXT = ['--domain', 'code=code.txt', '--domain', 'math=math.txt', '--threads', '1'];
const LONG = [
  ...TEXT,
  '--sequence-length',
  '16',
  '--steps',
  '100000',
  '--learning-rate',
  '1e-3',
  '--checkpoint-every',
  '20',
  '--out',
  'out',
];
const hasRows = async (path: string) => (await exists(path)) && (await readFile(path)).length > 0;
const trains = (folder: string) => hasRows(join(folder, 'out.training', 'metrics.jsonl'));
const device = openCpu();

const expectCheckpoint = (load: typeof loadDense | typeof loadStitched) => async (folder: string) => {
  const newest = await newestCheckpoint(trainingFolder(join(folder, 'out')));
  assert.ok(newest, 'no checkpoint was saved');
  using model = await load(device, newest);
  assert.ok(model.trainable.length > 0);
};

const SAMPLES = 'out/hub/t.jsonl';
const COMMANDS: Command[] = [
  {
    name: 'train --lora',
    args: ['train', '--from', 'hub', '--lora', '2', ...LONG],
    isUnderWay: trains,
    check: expectCheckpoint((device, checkpoint) =>
      DenseModel.load(device, checkpoint, { trainable: 'adapter', base: join(checkpoint, '../../hub') }),
    ),
    locks: true,
  },
  {
    name: 'train',
    args: ['train', '--from', 'hub', ...LONG],
    isUnderWay: trains,
    check: expectCheckpoint(loadDense),
    locks: true,
  },
  {
    name: 'stitch',
    args: ['stitch', '--hub', 'hub', '--expert', 'code=code', ...LONG],
    isUnderWay: trains,
    check: expectCheckpoint(loadStitched),
    locks: true,
  },
  {
    name: 'eval',
    args: ['eval', 'hub', '--tasks', 't.yaml', '--batch-size', '1', '--threads', '1', '--out', 'out'],
    isUnderWay: (folder) => hasRows(join(folder, SAMPLES)),
    check: async (folder) => {
      const rows = (await readFile(join(folder, SAMPLES), 'utf8')).split('\n');
      assert.is(rows.pop(), '', 'the last sample is not whole');
      for (const row of rows) JSON.parse(row);
    },
    locks: true,
  },
  {
    name: 'serve',
    args: ['serve', 'hub', '--port', '0', '--threads', '1'],
    isUnderWay: (_, running) => running.stdout().includes('http'),
    endsWell: true,
  },
  {
    name: 'generate',
    args: ['generate', 'long', 'x', '--max-tokens', '60000', '--threads', '1', '--temperature', '0.5'],
    isUnderWay: (_, running) => running.stdout().length > 0,
  },
  {
    name: 'reproduce',
    args: ['reproduce', 'table.yaml', '--out', 'runs', '--threads', '1'],
    isUnderWay: (folder) => hasRows(join(folder, 'runs', 'seed-1', 'seed.training', 'metrics.jsonl')),
    locks: true,
  },
];

const TASK = `task: t
data: rows.jsonl
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
generation_kwargs: { until: ["never"], max_gen_toks: 8 }
metric_list: [{ metric: exact_match }]
`;

const TABLE = {
  general: 'math',
  domains: { math: ['math.txt'], code: ['code.txt'] },
  model: { width: 16, layers: 2, heads: 2, keyValueHeads: 1, feedForwardWidth: 24, vocabulary: 257 },
  ...{ sequenceLength: 32, batchSize: 2, stitches: 2, evaluateTokens: 200, evaluations: 2 },
  seed: { steps: 100_000, learningRate: 1e-2 },
  expert: { steps: 2, learningRate: 1e-2 },
  merge: { steps: 4, learningRate: 1e-2 },
  rows: [{ system: 'soup' }],
};

/** The project is written once. */
let project: Promise<string> | undefined;
function makeProject(): Promise<string> {
  project ??= (async () => {
    const folder = join(root, 'project');
    await mkdir(folder);
    await writeProject(folder);
    // So many tokens take minutes.
    await writeModel(device, join(folder, 'long'), { config: { ...CONFIGS.llama, maxPositions: 65_536 } });
    await writeFile(join(folder, 't.yaml'), TASK);
    const rows = Array.from({ length: 5000 }, (_, i) => JSON.stringify({ q: `${i} `, a: 'x' }));
    await writeFile(join(folder, 'rows.jsonl'), rows.join('\n'));
    await writeFile(join(folder, 'table.yaml'), JSON.stringify(TABLE));
    return folder;
  })();
  return project;
}

/** Starts a command in a project of its own, and hands it on once it is under way. */
async function underWay(command: Command, use: (running: Running, folder: string) => Promise<void>): Promise<void> {
  const from = await makeProject();
  await inFolder(async (parent) => {
    const folder = join(parent, 'project');
    await cp(from, folder, { recursive: true });
    const running = startCli(command.args, { cwd: folder });
    try {
      await until(async () => (await command.isUnderWay(folder, running)) || running.process.exitCode !== null);
      assert.is(
        running.process.exitCode,
        null,
        `it ended by itself: ${running.stderr()} ${running.stdout().slice(-500)}`,
      );
      await use(running, folder);
    } finally {
      running.process.kill('SIGKILL');
      await running.ended;
    }
  });
}

for (const command of COMMANDS) {
  for (const name of ['SIGHUP', 'SIGTERM', 'SIGINT'] as const)
    line(`bts ${command.name}: ${name}`, () =>
      underWay(command, async (running, folder) => {
        running.process.kill(name);
        const { code, signal, stderr } = await running.ended;
        assert.is(code, command.endsWell ? 0 : 128 + constants.signals[name], `${signal} ${stderr}`);
        if (!command.endsWell) assert.match(stderr, /^bts: ABORTED: /m);
        await command.check?.(folder);
      }),
    );
  line(`bts ${command.name}: SIGINT twice`, () =>
    underWay(command, async (running, folder) => {
      running.process.kill('SIGINT');
      running.process.kill('SIGINT');
      const { code, signal } = await running.ended;
      assert.ok(signal === 'SIGINT' || code === 130 || (command.endsWell && code === 0), `${code} ${signal}`);
      // What was saved before is whole; a run that had not saved yet has nothing.
      if (command.name === 'eval' || (await newestCheckpoint(trainingFolder(join(folder, 'out')))))
        await command.check?.(folder);
    }),
  );
  if (!command.locks) continue;
  line(`bts ${command.name}: twice in one folder`, () =>
    underWay(command, async (running, folder) => {
      const { code, stderr } = await startCli(command.args, { cwd: folder }).ended;
      assert.is(code, 1, stderr);
      assert.match(stderr, /^bts: FOLDER_IN_USE: '.*' is in use by process \d+\. Wait until it is done/m);
      running.process.kill('SIGINT');
      const first = await running.ended;
      assert.is(first.code, 130, first.stderr);
      await command.check?.(folder);
    }),
  );
}
