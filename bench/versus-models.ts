import { renderTable } from '../lib/terminal/table.js';
import type { Row } from './bench.js';
import { round } from './measure.js';
import { peerRow, runBench, TORCH_DTYPE } from './peer.js';
import { SIZES, type SizeName } from './sizes.js';
import { partOf } from './verify.js';
import type { VersusOptions } from './versus.js';
import type { Attempt } from './versus-gpu.js';

/** Tokens a second of a whole model here and in PyTorch, and the most memory that either held. */
export interface ModelComparison {
  work: string;
  size: SizeName;
  ours: number;
  /** Of the device's ceiling: of arithmetic in a step, of reading in decoding. */
  share: number;
  eager: number | null;
  compiled: number | null;
  /** Times as fast as the faster of both. */
  ratio: number | null;
  mib: number;
  /** What the faster of both held. */
  torchMib: number | null;
  memory: number | null;
}

interface Peer {
  speed: number;
  mib: number;
}
interface Peers {
  eager: Peer | undefined;
  compiled: Peer | undefined;
}

// Beyond these a whole model would be compiled for many minutes: one layer is, and serves for all.
const MOST_COMPILED_LAYERS = 12;
const DTYPE = 'bf16';

/** Training steps and decoding of models with weights in bf16. */
export class ModelVersus {
  readonly compared: ModelComparison[] = [];
  /** Parts of models that were verified on the way. */
  private readonly verified = new Set<string>();

  constructor(
    private readonly options: VersusOptions,
    private readonly python: string,
    private readonly attempt: Attempt,
  ) {}

  /** A step as it is, and one that keeps what gradients need in place of computing it again. */
  async step(size: SizeName): Promise<void> {
    const peers = await this.peers('step', size, SIZES[size].layers > MOST_COMPILED_LAYERS ? 'layers' : 'whole');
    await this.compare('step', size, ['step'], peers);
    await this.compare('step, keeping all', size, ['step', '--no-recompute'], peers);
  }

  async decode(size: SizeName): Promise<void> {
    await this.compare('decode', size, ['decode'], await this.peers('decode', size, 'layers'));
  }

  private async compare(work: string, size: SizeName, command: string[], { eager, compiled }: Peers): Promise<void> {
    const row = await this.attempt(`${work} ${size}`, () => this.own(command, size));
    if (!row) return;
    const ours = row[work === 'decode' ? 'decode_tok_s' : 'tok_s'] as number;
    const share = row[work === 'decode' ? 'read_share' : 'flops_share'] as number;
    const mib = row.tensor_peak_mib as number;
    const best = compiled && !(eager && eager.speed > compiled.speed) ? compiled : eager;
    this.compared.push({
      ...{ work, size, ours, share, mib },
      eager: eager?.speed ?? null,
      compiled: compiled?.speed ?? null,
      ratio: best ? round(ours / best.speed, 2) : null,
      torchMib: best?.mib ?? null,
      memory: best ? round(mib / best.mib, 2) : null,
    });
    console.log(JSON.stringify(this.compared.at(-1)));
  }

  /** What a benchmark of our own measures; sizes that differ in length alone have a part in common, which is verified once. */
  private async own(command: string[], size: SizeName): Promise<Row> {
    const part = JSON.stringify([command, partOf(SIZES[size])]);
    const verified = this.verified.has(part) ? ['--no-verify'] : [];
    const row = await runBench([
      ...command,
      ...this.common(size),
      '--dtype',
      DTYPE,
      '--device',
      this.options.device,
      ...verified,
    ]);
    this.verified.add(part);
    return row;
  }

  private async peers(what: 'step' | 'decode', size: SizeName, compile: 'whole' | 'layers'): Promise<Peers> {
    const key = what === 'step' ? 'tok_s' : 'decode_tok_s';
    const peer = async (label: string, ...more: string[]): Promise<Peer | undefined> => {
      const args = [what, ...this.common(size), '--dtype', TORCH_DTYPE[DTYPE], '--device', 'cuda', ...more];
      const row = await this.attempt(`${what} ${size} in PyTorch, ${label}`, () =>
        peerRow(this.python, ['pytorch_bts.py', ...args]),
      );
      return row && { speed: row[key] as number, mib: row.gpu_peak_mib as number };
    };
    return { eager: await peer('eager'), compiled: await peer('compiled', '--compile', compile) };
  }

  private common(size: SizeName): string[] {
    return ['--size', size, '--steps', `${this.options.steps}`];
  }
}

export const modelTable = (models: readonly ModelComparison[]): string =>
  renderTable(models, [
    { title: 'work', value: ({ work }) => work },
    { title: 'size', value: ({ size }) => size },
    { title: 'tokens/s', value: ({ ours }) => ours },
    { title: 'of ceiling', value: ({ share }) => share, digits: 2 },
    { title: 'torch', value: ({ eager }) => eager },
    { title: 'compiled', value: ({ compiled }) => compiled },
    { title: 'times as fast', value: ({ ratio }) => ratio, digits: 2 },
    { title: 'MiB', value: ({ mib }) => mib },
    { title: 'torch MiB', value: ({ torchMib }) => torchMib },
    { title: 'of its memory', value: ({ memory }) => memory, digits: 2 },
  ]);
