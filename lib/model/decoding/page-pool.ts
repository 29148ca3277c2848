import { BtsError } from '../../base/errors.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import { bytesOf } from '../../tensor/addon.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Tokens of a page; native/ops/pages.h. */
export const PAGE_TOKENS = 64;

export const pagesFor = (tokens: number): number => Math.ceil(tokens / PAGE_TOKENS);

/**
 * Memory for keys and values, in pages of 64 tokens of one member, of all layers. Pages have as many owners as sequences begin
 * alike; the last one that gives a page back makes it free.
 */
export class PagePool implements Disposable {
  /** Keys and values of layer 0, of layer 1, and so on: [pages, 64, K, D]. */
  private readonly tensors: Tensor[] = [];
  /** Those given back last are taken first: memory that nobody came to is never touched. */
  private readonly free: number[];
  private readonly owners: Uint32Array;
  readonly pageBytes: number;

  constructor(
    private readonly device: Device,
    config: ModelConfig,
    readonly pages: number,
  ) {
    const { keyValueHeads, headWidth } = config.attention;
    this.pageBytes = cachedTokenBytes(device, config, 1) * PAGE_TOKENS;
    this.free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
    this.owners = new Uint32Array(pages);
    const shape = [pages, PAGE_TOKENS, keyValueHeads, headWidth];
    try {
      for (let i = 0; i < 2 * config.layers; i++) this.tensors.push(device.empty(shape, device.activations));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Pages that are nobody's. */
  get available(): number {
    return this.free.length;
  }

  /** Keys and values of a layer, [pages, 64, K, D] each. */
  layer(index: number): { keys: Tensor; values: Tensor } {
    return { keys: this.tensors[2 * index]!, values: this.tensors[2 * index + 1]! };
  }

  /** Throws OUT_OF_MEMORY where there are not so many, and takes none. */
  take(count: number): number[] {
    if (count > this.free.length) {
      const bytes = (pages: number) => `${(pages * this.pageBytes).toLocaleString('en-US')} bytes`;
      throw new BtsError(
        'OUT_OF_MEMORY',
        `keys and values would take ${bytes(count)}, and ${bytes(this.free.length)} of ${bytes(this.pages)} are left for them (a server's cacheMemory): fewer or shorter sequences take less.`,
      );
    }
    const taken = this.free.splice(this.free.length - count).reverse();
    for (const page of taken) this.owners[page] = 1;
    return taken;
  }

  /** Makes the caller another owner of pages that have one. */
  share(pages: readonly number[]): number[] {
    for (const page of pages) this.owners[page]!++;
    return [...pages];
  }

  give(pages: readonly number[]): void {
    for (const page of [...pages].reverse()) if (--this.owners[page]! === 0) this.free.push(page);
  }

  /** Copies pages, each into the one that has its place among `to`. */
  copy(source: PagePool, from: readonly number[], to: readonly number[]): void {
    for (const [i, tensor] of this.tensors.entries()) {
      for (let first = 0, end: number; first < from.length; first = end) {
        end = first + 1;
        while (end < from.length && isNext(from, end) && isNext(to, end)) end++;
        using x = source.tensors[i]!.slice(from[first]!, from[first]! + end - first);
        using y = tensor.slice(to[first]!, to[first]! + end - first);
        this.device.run('convert', { y, x });
      }
    }
  }

  [Symbol.dispose](): void {
    for (const tensor of this.tensors.splice(0)) tensor.dispose();
  }
}

const isNext = (pages: readonly number[], i: number): boolean => pages[i] === pages[i - 1]! + 1;

/** What a token of a sequence takes in a cache. */
export function cachedTokenBytes(device: Device, { attention, layers }: ModelConfig, members: number): number {
  return bytesOf(device.activations, [2 * layers * members * attention.keyValueHeads * attention.headWidth]);
}
