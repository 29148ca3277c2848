import type { ModelConfig } from '../../checkpoint/config.js';
import type { Device } from '../../tensor/device.js';
import type { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { GateLog, GateRecordOptions } from '../stitches/gate-log.js';
import type { Positions, Transformer } from '../transformer/transformer.js';
import type { KeyValueCache } from './key-value-cache.js';

/** What appending tokens to a cache asks of a model. */
export interface Decoder {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly transformer: Transformer;
  /** Hidden states [1, N, C] after all layers. */
  hidden(scope: Scope, ids: Tensor, positions: Positions & { gates?: GateLog | undefined }): Tensor;
  /** What takes the gates of a pass over so many rows. */
  gateLog(rows: number, options: GateRecordOptions): GateLog;
  createCache(batch: number, capacity: number): KeyValueCache;
}
