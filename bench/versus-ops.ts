import { renderTable } from '../lib/terminal/table.js';
import { round } from './measure.js';
import { dimensionsOf, measureOps, type OpResult, threeDigits } from './ops.js';
import { peerRow } from './peer.js';
import type { VersusOptions } from './versus.js';
import type { Attempt } from './versus-gpu.js';

/** An op here and in PyTorch, in milliseconds. */
export interface OpComparison extends OpResult {
  torch: number | null;
  ratio: number | null;
}

/** What pytorch_ops.py prints last. */
interface Peer {
  peer: string;
  ms: Record<string, number>;
}

/** Every op, and PyTorch's fastest way to do the same. */
export async function compareOps(options: VersusOptions, python: string, attempt: Attempt): Promise<OpComparison[]> {
  const ours = await attempt('ops', () => measureOps(options));
  if (!ours) return [];
  const dimensions = Object.entries(dimensionsOf(options)).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const peer = await attempt('ops in PyTorch', () =>
    peerRow<Peer>(python, ['pytorch_ops.py', ...dimensions, '--steps', `${options.steps}`]),
  );
  const compared = ours.ops.map((op): OpComparison => {
    const torch = peer?.ms[op.name] ?? null;
    return { ...op, torch, ratio: torch && round(torch / op.ms, 2) };
  });
  console.log(`ceiling: ${ours.ceiling}; ${peer?.peer ?? 'no PyTorch'}`);
  console.log(`an op costs ${ours.queue_us} us beside its work, waiting for a result ${ours.read_us} us`);
  console.log(
    renderTable(compared, [
      { title: 'op', value: ({ name }) => name },
      { title: 'ms', value: ({ ms }) => ms, digits: 3 },
      { title: 'TFLOP/s', value: ({ tflops }) => tflops || null, format: threeDigits },
      { title: 'GB/s', value: ({ gb_s }) => gb_s || null, digits: 0 },
      { title: 'of ceiling', value: ({ share }) => share, digits: 2 },
      { title: 'torch ms', value: ({ torch }) => torch, digits: 3 },
      { title: 'times as fast', value: ({ ratio }) => ratio, digits: 2 },
    ]),
  );
  return compared;
}
