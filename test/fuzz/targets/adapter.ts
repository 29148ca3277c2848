import { ADAPTER_PREFIX, ADAPTER_WEIGHTS, adapterTensors, readAdapter } from '../../../lib/checkpoint/adapter.js';
import { ADAPTER_CONFIG } from '../../../lib/checkpoint/adapter-config.js';
import { parameterNames } from '../../../lib/checkpoint/names.js';
import { type Dtype, tensorBytes } from '../../../lib/checkpoint/safetensors-header.js';
import { safetensors } from '../../checkpoint/checkpoint-fixtures.js';
import { PEFT_DEFAULTS } from '../../support/adapters.js';
import { CONFIGS } from '../../support/models.js';
import { Bytes } from '../bytes.js';
import { editedJson } from '../json-edits.js';
import { expectTyped, put, type Target } from '../target.js';

const BASE = CONFIGS.llama;
const SPECS = new Map(parameterNames(BASE).map(({ name, shape }) => [name, shape]));
const QUERIES = [0, 1, 2].map((layer) => `model.layers.${layer}.self_attn.q_proj`);
const FIRST = QUERIES.slice(0, 1);

interface Stored {
  name: string;
  dtype: Dtype;
  shape: number[];
}

/** A good adapter: what its file says, the rank of each matrix that it adapts, and what it has whole. */
function good(config: object, ranks: Record<string, number>, whole: readonly string[] = []) {
  const stored = (name: string, shape: readonly number[]): Stored => ({
    name: ADAPTER_PREFIX + name,
    dtype: 'F32',
    shape: [...shape],
  });
  const parts = Object.entries(ranks).flatMap(([module, rank]) => {
    const [outputs, inputs] = SPECS.get(`${module}.weight`) as [number, number];
    return [stored(`${module}.lora_A.weight`, [rank, inputs]), stored(`${module}.lora_B.weight`, [outputs, rank])];
  });
  const others = whole.map((name) => stored(name, SPECS.get(name)!));
  return { config: { ...PEFT_DEFAULTS, target_modules: ['q_proj'], ...config }, tensors: [...parts, ...others] };
}

const ranks = (modules: readonly string[], rank = 2) => Object.fromEntries(modules.map((module) => [module, rank]));
const GOOD = [
  good({}, ranks(QUERIES)),
  good({ layers_to_transform: [0], use_rslora: true, bias: 'none' }, ranks(FIRST)),
  good({ layers_to_transform: 0, layers_pattern: 'layers' }, ranks(FIRST)),
  good({ target_modules: '.*\\.0\\..*q_proj' }, ranks(FIRST)),
  good(
    { rank_pattern: { '0.self_attn.q_proj': 3 }, alpha_pattern: { q_proj: 1.5 } },
    { ...ranks(QUERIES), ...ranks(FIRST, 3) },
  ),
  good({ exclude_modules: ['1.self_attn.q_proj', 'layers.2.self_attn.q_proj'] }, ranks(FIRST)),
  good({ modules_to_save: ['norm'] }, ranks(QUERIES), ['model.norm.weight']),
];

const SIZES = [0, 1, 2, 3, 8, 16, 2 ** 20, 2 ** 31];
const DTYPES: readonly Dtype[] = ['F16', 'BF16', 'F32', 'F64', 'I8'];
const NAMES = [...SPECS.keys(), 'model.norm.modules_to_save.weight', 'lm_head.base_layer.weight', '', '\u0000'];

/** The good file's tensors, of which some are missing, twice, called otherwise or of another form. */
function changed(tensors: readonly Stored[], bytes: Bytes): Stored[] {
  const result = [...tensors];
  for (let changes = bytes.below(4); changes > 0 && result.length > 0; changes--) {
    const at = bytes.below(result.length);
    const tensor = result[at]!;
    const shape = [...tensor.shape];
    switch (bytes.below(6)) {
      case 0:
        result.splice(at, 1);
        break;
      case 1:
        result[at] = { ...tensor, dtype: bytes.pick(DTYPES) };
        break;
      case 2:
        shape[bytes.below(shape.length + 1)] = bytes.pick(SIZES);
        result[at] = { ...tensor, shape };
        break;
      case 3:
        result[at] = { ...tensor, name: ADAPTER_PREFIX + bytes.pick(NAMES) };
        break;
      case 4:
        result.push({ ...tensor, name: bytes.pick(NAMES) });
        break;
      default:
        result[at] = {
          ...tensor,
          name: tensor.name.replace('lora_A', bytes.pick(['lora_B', 'base_layer', 'lora_magnitude_vector'])),
        };
    }
  }
  return result;
}

/** A file whose layout is right, so that what it means is looked at; data is not read. */
function file(tensors: readonly Stored[]): Uint8Array {
  let end = 0;
  const entries = tensors.map(({ name, dtype, shape }) => {
    const begin = end;
    end += tensorBytes(dtype, shape) ?? 0;
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  return safetensors(JSON.stringify(Object.fromEntries(entries)), Math.min(end, 1 << 20));
}

export const target: Target = {
  words: [...new Set(GOOD.flatMap(({ config }) => Object.keys(config)))].map((key) => `"${key}"`),
  seeds: () => GOOD.map((_, seed) => Buffer.of(seed)),
  async run(data, folder) {
    const bytes = new Bytes(data);
    const { config, tensors } = bytes.pick(GOOD);
    await put(folder, ADAPTER_WEIGHTS, file(changed(tensors, bytes)));
    await put(folder, ADAPTER_CONFIG, editedJson(bytes, [config]));
    await expectTyped(['BAD_ADAPTER', 'BAD_SAFETENSORS'], async () => {
      const adapter = await readAdapter(folder, '/base', BASE);
      for (const [name, { down, up, scale }] of adapter.lowRank) {
        const [outputs, inputs] = SPECS.get(name)!;
        const fits = down.shape[1] === inputs && up.shape[0] === outputs && down.shape[0] === up.shape[1];
        if (!fits || !Number.isFinite(scale)) throw new Error(`'${name}' is adapted by what does not fit`);
      }
      for (const [name, { shape }] of adapter.replaced) {
        if (`${shape}` !== `${SPECS.get(name)}`) throw new Error(`'${name}' is replaced by what does not fit`);
      }
      if (adapterTensors(adapter).length === 0) throw new Error('it was read and has nothing');
    });
  },
};
