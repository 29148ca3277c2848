import type { Device } from '../../tensor/device.js';
import type { Program } from '../../tensor/program.js';
import { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type Standing, uploaded } from './standing.js';

/** Logits [B, V] of one token more for each sequence, given token ids [B] and where they stand. */
export type StepForward = (scope: Scope, ids: Tensor, stand: Standing<Tensor>) => Tensor;

/** One token more for each sequence of a cache: its ops are recorded for the first token and run again for all others. */
export class DecodeStep implements Disposable {
  private constructor(
    private readonly program: Program,
    private readonly ids: Tensor,
    private readonly stand: Standing<Tensor>,
    /** Of the latest token, [B, V]. */
    readonly logits: Tensor,
  ) {}

  /** Computes a first token's logits. `forward` may depend on nothing else that changes from token to token. */
  static record(device: Device, ids: Int32Array, stand: Standing<Int32Array>, forward: StepForward): DecodeStep {
    using scope = Scope.inference(device, { alone: true });
    const inputs = scope.track(device.tensor(ids, [ids.length]));
    const before = uploaded(scope, stand);
    const { program, result: logits } = device.record(() => {
      using inner = scope.inner();
      return inner.leave(forward(inner, inputs, before));
    });
    for (const kept of [inputs, before.starts, before.tableStarts, logits]) if (kept) scope.release(kept);
    return new DecodeStep(program, inputs, before, logits);
  }

  /** Computes the next token's logits in the place of the last one's. */
  run(ids: Int32Array, { starts, tableStarts }: Standing<Int32Array>): void {
    this.ids.write(ids);
    this.stand.starts.write(starts);
    if (tableStarts) this.stand.tableStarts!.write(tableStarts);
    this.program.run();
  }

  [Symbol.dispose](): void {
    this.program.dispose();
    for (const tensor of [this.ids, this.stand.starts, this.stand.tableStarts, this.logits]) tensor?.dispose();
  }
}
