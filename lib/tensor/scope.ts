import { expectAlive } from '../base/errors.js';
import type { DType } from './addon.js';
import { Allowance } from './allowance.js';
import type { Device } from './device.js';
import { Tape } from './tape.js';
import { GradientNode, type Tensor } from './tensor.js';

/**
 * Owns the tensors made in it: leaving a scope (`using`) frees them, but for those handed to the outer scope. A recording
 * scope also keeps what gradients need, until `backward`.
 */
export class Scope implements Disposable {
  #disposed = false;
  private readonly tensors = new Set<Tensor>();

  private constructor(
    /** Where its tensors lie. */
    readonly device: Device,
    /** @internal */
    readonly tape: Tape | undefined,
    private readonly outer: Scope | undefined,
    /** @internal For what could be computed again (see recompute.ts). */
    readonly allowance: Allowance,
    /** Whether products compute each row as they would without the others, from `Device.leastLanes` rows on. */
    readonly alone: boolean,
  ) {}

  /**
   * A scope for inference: nothing is recorded. `alone`: for rows that belong to different sequences.
   *
   * @param device where its tensors lie
   * @param options whether rows are computed alone
   */
  static inference(device: Device, { alone = false } = {}): Scope {
    return new Scope(device, undefined, undefined, new Allowance(0), alone);
  }

  /**
   * A scope in which gradients can be taken, once. Of what could be computed again for them it keeps at most `keep` bytes, by
   * default all: with less it needs less memory and more time.
   *
   * @param device where its tensors lie
   * @param options how many bytes are kept
   */
  static recording(device: Device, { keep = Number.POSITIVE_INFINITY } = {}): Scope {
    return new Scope(device, new Tape(device), undefined, new Allowance(keep), false);
  }

  /** A scope for what is needed for a moment only. */
  inner(): Scope {
    expectAlive(this.#disposed, 'a scope');
    return new Scope(this.device, this.tape, this, this.allowance, this.alone);
  }

  /**
   * A new tensor of this scope, by default one of activations; it takes part in gradients if `differentiable` and the scope records.
   *
   * @param shape sizes, the last one innermost
   * @param differentiable whether it takes part in gradients
   */
  empty(shape: readonly number[], differentiable = false, dtype: DType = this.device.activations): Tensor {
    expectAlive(this.#disposed, 'a scope');
    const tensor = this.device.empty(shape, dtype);
    return this.track(differentiable && this.tape ? tensor.withNode(new GradientNode()) : tensor);
  }

  /** Makes this scope the owner of a tensor. */
  track(tensor: Tensor): Tensor {
    if (this.#disposed) tensor.dispose();
    expectAlive(this.#disposed, 'a scope');
    this.tensors.add(tensor);
    return tensor;
  }

  /** Hands a tensor to the outer scope. */
  leave(tensor: Tensor): Tensor {
    this.release(tensor);
    return this.outer!.track(tensor);
  }

  /** Hands a tensor to the caller, who must dispose it. */
  release(tensor: Tensor): Tensor {
    this.tensors.delete(tensor);
    return tensor;
  }

  /** Frees a tensor of this scope that `next` takes the place of, before the scope ends. */
  exchange(tensor: Tensor, next: Tensor): Tensor {
    this.release(tensor).dispose();
    return next;
  }

  /**
   * Adds the gradients of a scalar to those of all parameters it depends on.
   *
   * @param loss of one element
   * @param watch is told of each gradient of a parameter, or part of one, that was added to
   */
  backward(loss: Tensor, watch?: (gradient: Tensor) => void): void {
    expectAlive(this.#disposed, 'a scope');
    this.tape?.backward(loss, watch);
  }

  /** Frees what the scope owns. Twice is harmless; a scope that is used afterwards throws DISPOSED. */
  dispose(): void {
    this.#disposed = true;
    for (const tensor of this.tensors) tensor.dispose();
    this.tensors.clear();
    if (!this.outer) this.tape?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
