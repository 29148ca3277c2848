import type { Command } from 'commander';
import { z } from 'zod';
import { hashOptions } from '../../base/file-hash.js';
import { machineMemory } from '../../base/memory.js';
import type { AdapterCost } from '../../model/cost/adapter-cost.js';
import { type Cost, stitchedCost } from '../../model/cost/cost.js';
import { type CheckedMember, type Finding, preflight } from '../../model/members/preflight.js';
import { stitchOptions, stitchShape } from '../../model/stitches/options.js';
import { describePacked } from '../../model/transformer/packed-types.js';
import { quantizationOf, quantizeOptions } from '../../model/transformer/quantization.js';
import { print, printJson } from '../../terminal/output.js';
import { compact } from '../../terminal/progress.js';
import { renderTable } from '../../terminal/table.js';
import { singleLine } from '../../terminal/text-width.js';
import { bytes, whole } from '../../terminal/units.js';
import { memberOptions } from '../options/member-options.js';
import { addConfigOption, addOptions, readOptions } from '../options/options.js';
import { trainingOptions } from '../options/training-options.js';

const { dropout: _, seed: __, ...shapeOptions } = stitchOptions;
const { batchSize, sequenceLength, recompute } = trainingOptions;
const stepOptions = { batchSize, sequenceLength, recompute };
const Schema = z.object({ ...memberOptions, ...quantizeOptions, ...shapeOptions, ...stepOptions, ...hashOptions });
type Values = z.output<typeof Schema>;

const EXAMPLES = `
Exit codes: 0 the models can be stitched, 1 they cannot, 2 the command line is wrong.

Examples:
  bts check --hub seed --expert code=experts/code --expert math=experts/math
  bts check --hub seed --expert code=experts/code --batch-size 32 --sequence-length 1024 --json`;

export function checkCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('check')
    .description('Say whether models can be stitched, all that keeps them from it, and what it would cost.')
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Models:', { ...memberOptions, ...quantizeOptions });
  addOptions(command, 'Stitches, for the estimate:', shapeOptions);
  addOptions(command, 'Training step, for the estimate:', stepOptions);
  addOptions(command, 'Files:', hashOptions);
  addConfigOption(command);
  command
    .option('--json', 'Print the result as JSON')
    .action(async () => run(await readOptions(command, Schema), command.opts().json === true, signal));
}

async function run(values: Values, json: boolean, signal: AbortSignal): Promise<void> {
  const { members, findings } = await preflight(values.hub, values.expert, { verify: values.verify, signal });
  const memoryBytes = machineMemory();
  const errors = findings.filter(({ level }) => level === 'error').length;
  const cost = errors === 0 ? estimate(members, values) : null;
  if (cost && cost.trainingBytes > memoryBytes) {
    const message = `a training step takes at least ${bytes(cost.trainingBytes)}, this machine has ${bytes(memoryBytes)}: take a smaller batch, shorter sequences or fewer experts.`;
    findings.push({ level: 'warning', code: 'NOT_ENOUGH_MEMORY', member: 'all', message });
  }
  if (json) printJson({ ok: errors === 0, members, findings, cost, memoryBytes });
  else print(render(members, findings, cost, values, memoryBytes));
  if (errors > 0) process.exitCode = 1;
}

/** What the models would cost once stitched. */
function estimate(members: readonly CheckedMember[], values: Values): Cost {
  const configs = members.map(({ config }) => config!);
  const size = { batch: values.batchSize, tokens: values.sequenceLength, recompute: values.recompute };
  const adapters = members.map(({ adapter }) => adapter);
  const quantized = quantizationOf(members, values);
  const packed = members.map(({ packed }) => packed);
  return stitchedCost(
    { members: configs, adapters, quantized, packed, ...stitchShape(values, configs[0]!.layers) },
    size,
  );
}

const adapterColumn = { title: 'adapter', value: ({ adapter }: CheckedMember) => adapter && describeAdapter(adapter) };

function describeAdapter({ ranks, bytes: own }: AdapterCost): string {
  if (!ranks) return bytes(own);
  const [least, most] = ranks;
  return `rank ${least === most ? least : `${least} to ${most}`}, ${bytes(own)}`;
}

function render(
  members: readonly CheckedMember[],
  findings: readonly Finding[],
  cost: Cost | null,
  values: Values,
  memoryBytes: number,
): string {
  const { batchSize, sequenceLength } = values;
  const held = quantizationOf(members, values);
  const parts = [
    renderTable(members, [
      { title: 'member', value: ({ name }) => name },
      { title: 'folder', value: ({ folder }) => folder },
      { title: 'parameters', value: ({ parameters }) => parameters, format: whole },
      { title: 'precision', value: ({ config, packed }) => (packed ? describePacked(packed) : config?.dtype) },
      ...(held.some((type) => type)
        ? [{ title: 'held in', value: (member: CheckedMember) => held[members.indexOf(member)] }]
        : []),
      ...(members.some(({ adapter }) => adapter) ? [adapterColumn] : []),
    ]),
  ];
  if (findings.length > 0) {
    parts.push(findings.map(({ level, code, message }) => `${level} ${code}\n  ${singleLine(message)}`).join('\n'));
  }
  if (!cost) {
    const errors = findings.filter(({ level }) => level === 'error').length;
    return [...parts, `These models cannot be stitched: ${errors} error${errors === 1 ? '' : 's'}.`].join('\n\n');
  }
  const lines: [string, string][] = [
    ['parameters', `${whole(cost.parameters)}, of them ${whole(cost.trainedParameters)} in stitches`],
    ['weights', `${bytes(cost.weightBytes)}, and ${bytes(cost.cacheBytes)} for each token in the key/value cache`],
    [
      'training step',
      `at least ${bytes(cost.trainingBytes)} with ${batchSize} x ${sequenceLength} tokens; this machine has ${bytes(memoryBytes)}`,
    ],
    ['work', `${compact(cost.forwardFlops)} operations a token, ${compact(cost.trainingFlops)} in training`],
  ];
  if (cost.wideningBytes > 0) {
    const widening = `another ${bytes(cost.wideningBytes)} on a GPU, in which a matrix of all members is bf16 for a moment`;
    lines.splice(2, 0, ['widening', widening]);
  }
  parts.push(lines.map(([what, how]) => `${what.padEnd(15)}${how}`).join('\n'));
  return [...parts, 'These models can be stitched.'].join('\n\n');
}
