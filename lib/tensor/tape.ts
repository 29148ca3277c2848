import type { Device } from './device.js';
import type { GradientNode, Tensor } from './tensor.js';

type Backward = (dy: Tensor, saved: readonly Tensor[], gradients: Gradients) => void;

/** Is told of each gradient of a parameter, or part of one, that a backward has added to. */
export type Watch = (gradient: Tensor) => void;

interface Entry {
  node: GradientNode;
  shape: readonly number[];
  saved: readonly Tensor[];
  backward: Backward;
}

/** The gradients that are known so far, while the tape runs backwards. */
export class Gradients implements Disposable {
  private readonly known = new Map<GradientNode, Tensor>();

  constructor(
    private readonly device: Device,
    readonly watch: Watch | undefined,
  ) {}

  /** Ops that have added to gradients of parameters say so. */
  added(...gradients: readonly (Tensor | undefined)[]): void {
    if (!this.watch) return;
    for (const gradient of gradients) if (gradient) this.watch(gradient);
  }

  /**
   * Adds to the gradient of x: `write` receives where to, and whether to add to what is there. Does nothing where x needs
   * no gradient.
   */
  add(x: Tensor, write: (dx: Tensor, accumulate: boolean) => void): void {
    if (!x.node) return;
    const there = this.known.get(x.node);
    using dx = there ? there.reshape(...x.shape) : this.device.empty(x.shape, x.dtype);
    write(dx, there !== undefined);
    if (!there) this.known.set(x.node, dx.share());
  }

  /** Adds `dx`, a tensor that nobody reads any more afterwards. */
  give(x: Tensor, dx: Tensor): void {
    if (!x.node) return;
    const there = this.known.get(x.node);
    if (!there) {
      this.known.set(x.node, dx.share());
      return;
    }
    using sum = there.reshape(...dx.shape);
    this.device.run('add', { y: sum, a: sum, b: dx });
  }

  take(node: GradientNode): Tensor | undefined {
    const gradient = this.known.get(node);
    this.known.delete(node);
    return gradient;
  }

  [Symbol.dispose](): void {
    for (const gradient of this.known.values()) gradient.dispose();
  }
}

/** Records how to go back. Only ops whose result needs a gradient are on it. */
export class Tape {
  private readonly entries: Entry[] = [];

  constructor(private readonly device: Device) {}

  /** `saved` are kept alive until the backward has used them. */
  record(y: Tensor, saved: readonly Tensor[], backward: Backward): void {
    const kept: Tensor[] = [];
    try {
      for (const tensor of saved) kept.push(tensor.share());
    } catch (error) {
      for (const tensor of kept) tensor.dispose();
      throw error;
    }
    this.entries.push({ node: y.node!, shape: y.shape, saved: kept, backward });
  }

  /** Adds the gradients of a scalar to those of all parameters it depends on, and empties the tape. */
  backward(loss: Tensor, watch?: Watch): void {
    if (!loss.node) return;
    using gradients = new Gradients(this.device, watch);
    using one = this.device.full(loss.shape, 1);
    gradients.give(loss, one);
    this.run(gradients);
  }

  /**
   * The gradient of x, of which `y` was computed, where that of y is `dy`; adds to the gradients of parameters and empties
   * the tape. The caller disposes what it gets.
   */
  gradientOf(x: Tensor, y: Tensor, dy: Tensor, watch?: Watch): Tensor {
    using gradients = new Gradients(this.device, watch);
    gradients.give(y, dy);
    this.run(gradients);
    return gradients.take(x.node!)!;
  }

  private run(gradients: Gradients): void {
    for (let entry = this.entries.pop(); entry; entry = this.entries.pop()) {
      const { node, shape, saved, backward } = entry;
      try {
        using gradient = gradients.take(node);
        if (!gradient) continue;
        using dy = gradient.reshape(...shape);
        gradient.dispose(); // dy has its memory
        backward(dy, saved, gradients);
      } finally {
        for (const tensor of saved) tensor.dispose();
      }
    }
  }

  dispose(): void {
    for (const { saved } of this.entries.splice(0)) for (const tensor of saved) tensor.dispose();
  }
}
