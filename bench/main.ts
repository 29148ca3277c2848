import { writeFile } from 'node:fs/promises';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { availableProcessors } from '../lib/base/processors.js';
import { reportFailure } from '../lib/cli/failure.js';
import { cardOf, instructionSets, isGpu, type Row } from './bench.js';
import { benchDecode } from './decode.js';
import { benchFlops } from './flops.js';
import { benchGates } from './gates.js';
import { benchLoad, type LoadOptions } from './load.js';
import { benchOps } from './ops.js';
import { benchScale } from './scale.js';
import { benchServe } from './serve.js';
import { SIZES } from './sizes.js';
import { benchStep } from './step.js';
import { benchStitch } from './stitch.js';
import { benchVersus, type VersusOptions } from './versus.js';

const BENCHES: Record<string, (options: VersusOptions & LoadOptions & { ranks?: number }) => Promise<Row>> = {
  step: benchStep,
  stitch: benchStitch,
  decode: benchDecode,
  gates: benchGates,
  serve: benchServe,
  load: benchLoad,
  ops: benchOps,
  scale: benchScale,
  flops: benchFlops,
  versus: benchVersus,
};

function count(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('expected a positive whole number.');
  return value;
}

const program = new Command('bench')
  .description('Speed and memory, verified first, against the ceilings of this machine. The last line is JSON.')
  .addArgument(new Argument('[what]', 'what to measure').choices(Object.keys(BENCHES)).default('ops'))
  .addOption(new Option('--size <name>', 'the shape').choices(Object.keys(SIZES)).default('tiny'))
  .addOption(new Option('--dtype <type>', 'precision of the frozen weights').choices(['f32', 'bf16']).default('f32'))
  .addOption(
    new Option(
      '--precision <type>',
      'with step, stitch, decode, gates, serve, ops, scale: what products take (default: f32 on a CPU, bf16 on a GPU)',
    ).choices(['f32', 'bf16']),
  )
  .option('--device <name>', 'cpu, cuda, cuda:0 and so on', 'cpu')
  .option('--threads <n>', 'CPU threads', count, availableProcessors())
  .addOption(
    new Option('--instruction-set <name>', 'what the CPU computes with (default: the widest that it has)').choices(
      instructionSets(),
    ),
  )
  .addOption(
    new Option('--experts <kind>', 'with step, decode: whole models, or adapters of the hub (--rank)')
      .choices(['models', 'adapters'])
      .default('models'),
  )
  .option('--rank <n>', 'of adapters', count, 64)
  .addOption(new Option('--quantize <bits>', 'with decode: what members are held in').choices(['int8', 'int4']))
  .option('--steps <n>', 'timed runs', count, 5)
  .option('--rows <n>', 'with ops: tokens at once (default: 512 on a CPU, 8192 on a GPU)', count)
  .option(
    '--members <n>',
    'with ops: models at once (default: 1 on a CPU, 4 on a GPU); with serve: the hub and experts (default: 4)',
    count,
  )
  .option('--ranks <n>', 'with scale: data parallel steps on so many processes, by mpirun', count)
  .option('--minutes <n>', 'with load: how long', count, 1)
  .option('--half-open <n>', 'with load: connections that say nothing, or not all', count, 2000)
  .option('--profile', 'print the time of each op', false)
  .option('--no-recompute', 'with step: keep what gradients need, for less time and more memory')
  .option('--no-verify', 'with step, decode: measure what was verified before')
  .option('--json [file]', 'print the last line alone, or write it to a file, too', false)
  .addOption(new Option('--work <what...>', 'with versus: this alone').choices(['ops', 'step', 'stitch', 'decode']))
  .option('--peer-python <path>', 'with versus: a Python that has torch')
  .option('--peer-llama <folder>', 'with versus, serve: where node-llama-cpp is installed, to compare with llama.cpp');

const [what] = program.parse().processedArgs as [string];
const given = program.opts<Omit<VersusOptions & LoadOptions, 'sizes'> & { json: boolean | string }>();
const named = program.getOptionValueSource('size') === 'cli';
const options: VersusOptions & LoadOptions = { ...given, ...(named && { sizes: [given.size] }) };
if (given.json === true) console.log = () => {};
try {
  const row = await BENCHES[what]!(options);
  const { size, dtype, precision, device, threads } = options;
  const isa = options.instructionSet ?? instructionSets().at(-1)!;
  const where = isGpu(device) ? { card: cardOf(device) } : { isa, threads };
  const line = `${JSON.stringify({ what, size, dtype, precision, device, ...where, ...row })}\n`;
  if (typeof given.json === 'string') await writeFile(given.json, line);
  process.stdout.write(line);
} catch (error) {
  process.exitCode = reportFailure(error, given.json !== false);
}
