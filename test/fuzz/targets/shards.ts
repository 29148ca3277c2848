import { readCheckpoint } from '../../../lib/checkpoint/shards.js';
import { safetensors } from '../../checkpoint/checkpoint-fixtures.js';
import { Bytes } from '../bytes.js';
import { editedJson } from '../json-edits.js';
import { expectTyped, put, type Target } from '../target.js';

const [FIRST, SECOND] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const SEEDS = [
  { metadata: { total_size: 24 }, weight_map: { a: FIRST, b: SECOND, c: SECOND } },
  { weight_map: { a: FIRST, b: SECOND, c: SECOND, d: 'gone.safetensors' } },
];
const one = (name: string, begin: number) => ({
  [name]: { dtype: 'F32', shape: [2], data_offsets: [begin, begin + 8] },
});

export const target: Target = {
  words: ['"weight_map"', `"${FIRST}"`, `"${SECOND}"`, '"a"', '".."', '"/"'],
  seeds: () => [Buffer.of(0, 0), Buffer.of(0, 1)],
  async prepare(folder) {
    await put(folder, FIRST, safetensors(JSON.stringify(one('a', 0)), 8));
    await put(folder, SECOND, safetensors(JSON.stringify({ ...one('b', 0), ...one('c', 8) }), 16));
  },
  async run(data, folder) {
    await put(folder, 'model.safetensors.index.json', editedJson(new Bytes(data), SEEDS));
    await expectTyped(['BAD_SAFETENSORS', 'FILE_NOT_FOUND', 'FILE_IO'], async () => {
      const tensors = await readCheckpoint(folder);
      for (const { path } of tensors.values()) {
        if (path !== `${folder}/${FIRST}` && path !== `${folder}/${SECOND}`) throw new Error(`'${path}' was read`);
      }
    });
  },
};
