import { BtsError, expectAlive } from '../base/errors.js';
import { type NativeCommunicator, typed } from './addon.js';
import type { Device } from './device.js';
import type { Tensor } from './tensor.js';

/** What moves tensors between processes; 'none' where there is one process. */
export type CommunicatorEngine = 'none' | 'mpi' | 'nccl';

/** What JSON can say. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** @internal What carries texts of the host between ranks. */
export interface HostValues {
  /** Every rank's text, in the order of ranks; one call at a time. Throws COMMUNICATION. */
  gather(text: string): Promise<string[]>;
  dispose(): void;
}

/** A group of ranks among all. */
interface Group {
  whole: Communicator;
  /** What its ranks are called there. */
  ranks: readonly number[];
}

/**
 * This process as one of several that compute together, each on a device of its own. All ranks make the same calls in the same
 * order, with tensors of the same shapes. Calls of tensors are queued on the device like ops; what goes wrong in them is thrown,
 * with the code COMMUNICATION, by the next read of one of their tensors, and a rank whose tensors failed to be computed tells
 * the others so. `gather` and `barrier` wait.
 *
 * Of a group (`openMesh`) tensors cross within the group; values of the host are gathered by all ranks at the same time, of
 * which each gets those of its group.
 */
export class Communicator implements Disposable {
  #disposed = false;
  #last: Promise<unknown> = Promise.resolve();
  readonly #groups: Communicator[] = [];

  /** @internal Communicators are opened by `openCommunicator`. */
  constructor(
    /** Where its tensors lie. */
    readonly device: Device,
    /** What moves tensors. */
    readonly engine: CommunicatorEngine,
    /** Of this process, from 0 to size - 1. */
    readonly rank: number,
    /** How many processes there are. */
    readonly size: number,
    private readonly native?: NativeCommunicator,
    private readonly values?: HostValues,
    private readonly board?: Tensor,
    /** @internal After so many another rank is given up. */
    readonly seconds = Number.POSITIVE_INFINITY,
    private readonly group?: Group,
  ) {
    if (group) group.whole.#groups.push(this);
  }

  /** Of one process: all calls do nothing. */
  static alone(device: Device): Communicator {
    return new Communicator(device, 'none', 0, 1);
  }

  /** All ranks, of which these are some; itself where it is no group. */
  get whole(): Communicator {
    return this.group?.whole ?? this;
  }

  /** What its ranks are called among all. */
  get ranks(): readonly number[] {
    return this.group?.ranks ?? Array.from({ length: this.size }, (_, rank) => rank);
  }

  /**
   * Replaces the contents of each tensor by the sums over all ranks, which get the same bytes. For a given number of ranks the same
   * numbers give the same sums. Throws BAD_OPTION unless tensors are in f32 or bf16.
   */
  allReduce(tensors: readonly Tensor[]): void {
    this.call((native) => native.allReduce(nativeOf(tensors)));
  }

  /**
   * Replaces the contents of each tensor by those that one rank has. Throws BAD_OPTION for integers.
   *
   * @param tensors that every rank has, in one order
   * @param root the rank whose contents they are
   */
  broadcast(tensors: readonly Tensor[], root: number): void {
    this.expectRank(root);
    this.call((native) => native.broadcast(nativeOf(tensors), root));
  }

  /**
   * Sends a tensor to a rank, which must receive it.
   *
   * @param tensor whose contents are sent
   * @param to another rank
   */
  send(tensor: Tensor, to: number): void {
    this.expectRank(to, true);
    this.call((native) => native.send([tensor.native], to));
  }

  /**
   * Replaces the contents of a tensor by what a rank sends.
   *
   * @param tensor of the same shape and type
   * @param from another rank
   */
  receive(tensor: Tensor, from: number): void {
    this.expectRank(from, true);
    this.call((native) => native.receive([tensor.native], from));
  }

  /** Waits until all ranks have come here, and all that they queued before is done. */
  async barrier(): Promise<void> {
    expectAlive(this.#disposed, 'a communicator');
    await this.device.synchronize();
    await this.gather(null);
  }

  /**
   * Every rank's value, in the order of ranks. It does not wait for what is queued on devices, and is for small values: numbers of a
   * loss, a flag. Throws COMMUNICATION.
   */
  async gather<Value extends JsonValue>(value: Value): Promise<Value[]> {
    if (this.group) {
      const all = await this.whole.gather(value);
      return this.ranks.map((rank) => all[rank]!);
    }
    const values = this.#last.then(() => this.gatherNow(value));
    this.#last = values.catch(() => undefined);
    return await values;
  }

  private async gatherNow<Value extends JsonValue>(value: Value): Promise<Value[]> {
    expectAlive(this.#disposed, 'a communicator');
    const text = JSON.stringify(value, withoutGaps);
    try {
      const texts = (await this.values?.gather(text)) ?? [text];
      return texts.map((each) => JSON.parse(each, restored));
    } catch (cause) {
      const error = typed(cause);
      if (!(error instanceof BtsError) || error.code !== 'COMMUNICATION') throw error;
      throw new BtsError('COMMUNICATION', `gather: on rank ${this.rank} of ${this.size}: ${error.message}`, { cause });
    }
  }

  /** @internal Lets calls of tensors fail that wait for others, and all that follow: also where they are a group's. */
  cancel(): void {
    for (const each of [this, ...this.#groups]) if (!each.#disposed) each.native?.cancel();
  }

  /** @internal The ranks that give the same number, by MPI. All ranks are there and call it. */
  split(number: number): NativeCommunicator {
    try {
      return this.native!.split(number);
    } catch (error) {
      throw typed(error);
    }
  }

  /** Ends it, and with it its groups; what is queued is still done. Twice is harmless. */
  dispose(): void {
    this.#disposed = true;
    for (const group of this.#groups) group.dispose();
    this.native?.dispose();
    this.values?.dispose();
    this.board?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  private expectRank(rank: number, isOther = false): void {
    if (!(Number.isInteger(rank) && rank >= 0 && rank < this.size))
      throw new BtsError('BAD_OPTION', `there is no rank ${rank}: ranks are 0 to ${this.size - 1}.`);
    if (isOther && rank === this.rank) throw new BtsError('BAD_OPTION', `rank ${rank} cannot send to itself.`);
  }

  private call(f: (native: NativeCommunicator) => void): void {
    expectAlive(this.#disposed, 'a communicator');
    try {
      if (this.native) f(this.native);
    } catch (error) {
      throw typed(error);
    }
  }
}

const nativeOf = (tensors: readonly Tensor[]) => tensors.map(({ native }) => native);

/** JSON has no NaN and no infinities: they would come as null. */
const withoutGaps = (_: string, value: unknown) =>
  typeof value === 'number' && !Number.isFinite(value) ? { $number: `${value}` } : value;
const restored = (_: string, value: unknown) =>
  typeof value === 'object' && value && '$number' in value ? Number(value.$number) : value;
