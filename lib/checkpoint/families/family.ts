import type { Fail } from '../../base/check.js';
import type { ModelConfig } from '../model-config.js';
import type { StoredWeight } from './weights.js';

export type Json = Record<string, unknown>;

/** A family of models: how its config.json is read and written, and what its weights are called. */
export interface Family {
  /** `model_type` in config.json. */
  readonly type: string;
  /** The class that config.json names among its `architectures`. */
  readonly architecture: string;
  /** The configuration that a config.json describes; what it lacks is as transformers assumes. Throws through `fail`. */
  read(json: Json, fail: Fail): ModelConfig;
  /**
   * The keys that the family's class in transformers reads, as versions 4 and 5 spell them, and no others: readers may give
   * a stray key a meaning. `read` makes the same configuration of them.
   */
  write(config: ModelConfig): Json;
  /** The weights of a layer; those outside of layers are called the same in all families. */
  layer(config: ModelConfig): StoredWeight[];
}
