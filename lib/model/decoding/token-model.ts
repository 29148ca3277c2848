import type { ModelConfig } from '../../checkpoint/config.js';
import type { Tokenizer } from '../../data/tokenizer.js';
import type { Device } from '../../tensor/device.js';
import type { CacheOptions, TokenCache } from './key-value-cache.js';
import type { Draw } from './sampler.js';

/** What generating asks of a model; see LanguageModel. */
export interface TokenModel {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  readonly stopTokens: readonly number[];
  readonly decodesTogether: boolean;
  readonly hasGates: boolean;
  createCache(batch: number, capacity: number, options?: CacheOptions): TokenCache;
  extend(cache: TokenCache, ids: ArrayLike<number>): Promise<Float32Array>;
  next(cache: TokenCache, ids: ArrayLike<number>, draws: readonly (Draw | undefined)[]): Promise<Int32Array>;
}
