import { cpus } from 'node:os';
import type { Command } from 'commander';
import { BtsError } from '../../base/errors.js';
import { machineMemory } from '../../base/memory.js';
import { availableProcessors } from '../../base/processors.js';
import { loadAddon, type Variant } from '../../tensor/addon.js';
import { findBinary, glibcVersion } from '../../tensor/binary.js';
import { Device, findGpus, whyNotBf16 } from '../../tensor/device.js';
import { describeEngine } from '../../tensor/engines.js';
import { print, printJson } from '../../terminal/output.js';
import { bytes } from '../../terminal/units.js';

interface Found {
  ok: boolean;
  /** What was found, or why it cannot be used. */
  detail: string;
}

interface FoundGpus extends Found {
  gpus: Variant[];
}

const EXAMPLES = `
Exit codes: 0 models can be run here, 1 they cannot.

Examples:
  bts doctor
  bts doctor --json`;

export function doctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description('Say what this installation and this machine can do; attach it to bug reports.')
    .option('--json', 'Print the result as JSON')
    .addHelpText('after', EXAMPLES)
    .action(() => run(program.version() ?? '', command.opts().json === true));
}

function run(version: string, json: boolean): void {
  const addon = findAddon();
  const sets = addon.ok ? loadAddon().variants() : [];
  const report = {
    version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    glibc: glibcVersion(),
    addon,
    processor: cpus()[0]?.model ?? 'unknown',
    instructionSets: {
      found: sets.filter(({ supported }) => supported).map(({ name }) => name),
      missing: sets.filter(({ supported }) => !supported).map(({ name }) => name),
      // The widest, which is what devices take unless they are told otherwise.
      used: sets.findLast(({ supported }) => supported)?.name ?? null,
    },
    processors: cpus().length,
    threads: availableProcessors(),
    memoryBytes: machineMemory(),
    devices: { cpu: findCpu(), cuda: findCuda() },
    communicators: { mpi: findEngine('mpi'), nccl: findEngine('nccl') },
  };
  if (json) printJson(report);
  else print(render(report));
  if (!report.devices.cpu.ok) process.exitCode = 1;
}

function findAddon(): Found {
  try {
    loadAddon();
    const { path, origin } = findBinary('cpu');
    return { ok: true, detail: `${path} (${origin})` };
  } catch (error) {
    return rejected(error);
  }
}

function findCpu(): Found {
  try {
    using device = Device.open('cpu');
    const precisions = whyNotBf16() === undefined ? 'f32 and bf16' : 'f32 alone';
    return { ok: true, detail: `${device.threads} threads, products in ${precisions}` };
  } catch (error) {
    return rejected(error);
  }
}

/** Every GPU that was found with what it is or why it is rejected, and whether one of them opens. */
function findCuda(): FoundGpus {
  let gpus: Variant[] = [];
  try {
    gpus = findGpus();
    using device = Device.open('cuda');
    return { ok: true, detail: `'auto' takes ${device.name}`, gpus };
  } catch (error) {
    return { ...rejected(error), gpus };
  }
}

function findEngine(name: 'mpi' | 'nccl'): Found {
  try {
    return { ok: true, detail: describeEngine(name) };
  } catch (error) {
    return rejected(error);
  }
}

function rejected(error: unknown): Found {
  if (error instanceof BtsError) return { ok: false, detail: error.message };
  throw error;
}

function render({ instructionSets, ...report }: Report): string {
  const { found, missing, used } = instructionSets;
  const device = (name: string, { ok, detail }: Found): [string, string] => [name, `${ok ? 'ok, ' : 'no: '}${detail}`];
  const lines: [string, string][] = [
    ['version', report.version],
    ['Node.js', report.node],
    ['platform', `${report.platform}, ${report.glibc ? `glibc ${report.glibc}` : 'no glibc'}`],
    ['addon', report.addon.ok ? report.addon.detail : `not loaded: ${report.addon.detail}`],
    ['processor', report.processor],
    [
      'instructions',
      `${found.join(', ') || 'none'}${missing.length > 0 ? `; not on this processor: ${missing.join(', ')}` : ''}${used ? `; used: ${used}` : ''}`,
    ],
    ['threads', `${report.threads}, of ${report.processors} processors`],
    ['memory', bytes(report.memoryBytes)],
    device('cpu', report.devices.cpu),
    device('cuda', report.devices.cuda),
    ...report.devices.cuda.gpus.map(({ name, supported, detail }) => device(`cuda:${name}`, { ok: supported, detail })),
    device('mpi', report.communicators.mpi),
    device('nccl', report.communicators.nccl),
  ];
  return lines.map(([what, how]) => `${what.padEnd(14)}${how}`).join('\n');
}

interface Report {
  version: string;
  node: string;
  platform: string;
  glibc: string | null;
  addon: Found;
  processor: string;
  instructionSets: { found: string[]; missing: string[]; used: string | null };
  processors: number;
  /** Of the processors, what affinity and CPU quotas leave to this process. */
  threads: number;
  memoryBytes: number;
  devices: { cpu: Found; cuda: FoundGpus };
  /** What moves tensors between processes. */
  communicators: { mpi: Found; nccl: Found };
}
