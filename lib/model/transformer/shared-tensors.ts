import type { Tensor } from '../../tensor/tensor.js';

/**
 * Frozen tensors of several models, of which those that hold the same are in memory once: experts that branched from one
 * seed and left some of its weights as they were. Disposing it leaves the handles that it gave away as they are.
 */
export class SharedTensors implements Disposable {
  private readonly held = new Map<string, Tensor>();

  has(content: string): boolean {
    return this.held.has(content);
  }

  /** A handle on the tensor with this content, loaded if it is the first. */
  async get(content: string, load: () => Promise<Tensor>): Promise<Tensor> {
    const there = this.held.get(content) ?? (await load());
    this.held.set(content, there);
    return there.share();
  }

  [Symbol.dispose](): void {
    for (const tensor of this.held.values()) tensor.dispose();
  }
}
