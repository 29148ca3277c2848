import { Communicator, type JsonValue } from '../../lib/tensor/communicator.js';
import type { Device } from '../../lib/tensor/device.js';

/** Ranks of this process, on one device, that gather values: for work that sums no tensors. */
export function ranksInProcess(device: Device, size: number): Communicator[] {
  const calls: {
    given: (JsonValue | undefined)[];
    done: (values: JsonValue[]) => void;
    values: Promise<JsonValue[]>;
  }[] = [];
  const call = (index: number) => {
    calls[index] ??= ((done = (_: JsonValue[]) => {}) => {
      const values = new Promise<JsonValue[]>((resolve) => {
        done = resolve;
      });
      return { given: Array.from({ length: size }), done, values };
    })();
    return calls[index];
  };
  return Array.from({ length: size }, (_, rank) => {
    let next = 0;
    return new (class extends Communicator {
      override gather<Value extends JsonValue>(value: Value): Promise<Value[]> {
        const { given, done, values } = call(next++);
        given[rank] = JSON.parse(JSON.stringify(value));
        if (given.every((each) => each !== undefined)) done(given as JsonValue[]);
        return values as Promise<Value[]>;
      }
    })(device, 'none', rank, size);
  });
}
