import { readSafetensors, readTensor } from '../../../lib/checkpoint/safetensors.js';
import { safetensors } from '../../checkpoint/checkpoint-fixtures.js';
import { Bytes } from '../bytes.js';
import { editedJson } from '../json-edits.js';
import { expectTyped, put, type Target } from '../target.js';

const HEADERS = [
  { a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } },
  {
    __metadata__: { format: 'pt', '': 'x' },
    'model.layers.0.weight': { dtype: 'BF16', shape: [2, 3], data_offsets: [0, 12] },
    b: { dtype: 'F4', shape: [4], data_offsets: [12, 14] },
    scalar: { dtype: 'I64', shape: [], data_offsets: [14, 22] },
    empty: { dtype: 'F16', shape: [0, 5], data_offsets: [22, 22] },
  },
];
const DATA_BYTES = [8, 22, 0, 7, 1 << 16];

/** A whole file: the bytes as they are, or an edited header with data, behind a length that may be another. */
function file(bytes: Bytes): Uint8Array {
  const choice = bytes.below(4);
  if (choice === 0) return bytes.take();
  const dataBytes = bytes.pick(DATA_BYTES);
  const shift = choice === 1 ? bytes.byte() - 128 : 0;
  const header = editedJson(bytes, HEADERS);
  const whole = safetensors(header, dataBytes, BigInt.asUintN(64, BigInt(header.length + shift)));
  return choice === 2 ? whole.subarray(0, whole.length - bytes.byte()) : whole;
}

export const target: Target = {
  words: ['"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', '"F32"', '"BF16"', '[0,8]', '[]'],
  seeds: () => [
    Buffer.concat([Buffer.of(0), safetensors(JSON.stringify(HEADERS[0]), 8)]),
    Buffer.concat([Buffer.of(0), safetensors(JSON.stringify(HEADERS[1]), 22)]),
    Buffer.of(3, 0, 0, 0),
    Buffer.of(3, 1, 0, 1),
  ],
  async run(data, folder) {
    const content = file(new Bytes(data));
    const path = await put(folder, 'model.safetensors', content);
    await expectTyped(['BAD_SAFETENSORS'], async () => {
      const { tensors } = await readSafetensors(path);
      let end: number | undefined;
      for (const entry of tensors.values()) {
        if (end !== undefined && entry.offset !== end)
          throw new Error(`'${entry.name}' does not begin where one ended`);
        end = entry.offset + entry.bytes;
        if ((await readTensor(entry)).length !== entry.bytes) throw new Error(`'${entry.name}' has not its bytes`);
      }
      if (end !== undefined && end !== content.length)
        throw new Error(`tensors end at ${end} of ${content.length} bytes`);
    });
  },
};
