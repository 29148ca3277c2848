import { z } from 'zod';
import { check, type Fail } from '../base/check.js';
import { BtsError } from '../base/errors.js';
import { show } from '../base/show.js';
import type { Family, Json } from './families/family.js';
import { FAMILIES, familyOf } from './families/index.js';
import type { ModelConfig } from './model-config.js';
import { parsePacking } from './packed/packing.js';

export { EosTokens } from './families/keys.js';
export type { ModelConfig } from './model-config.js';

/**
 * Reads the content of a `config.json`, in the style of transformers 4 (`rope_theta`, `rope_scaling`, `torch_dtype`) or
 * 5 (`rope_parameters`, `dtype`). A key it lacks has the value that transformers assumes.
 *
 * @param source names the file in errors
 * @throws BAD_CONFIG if it is malformed or describes a model that this package would compute otherwise than transformers
 */
export function parseConfig(json: unknown, source: string): ModelConfig {
  const fail = (reason: string) => new BtsError('BAD_CONFIG', `'${source}': ${reason}.`);
  const given = check(z.looseObject({}), json, fail);
  const family = requireFamily(given, fail);
  // These change what is computed, in every family: passing them over would give wrong numbers.
  for (const key of ['num_experts', 'num_local_experts', 'per_layer_config']) {
    if (given[key] != null) throw fail(`${key} is set, but only dense models of equal layers are supported`);
  }
  const packing = given.quantization_config ?? given.compression_config;
  const config = family.read(given, fail);
  return packing == null ? config : { ...config, packing: parsePacking(packing, fail) };
}

function requireFamily({ model_type: type, architectures }: Json, fail: Fail): Family {
  const family = FAMILIES.find((family) => family.type === type);
  if (!family) {
    const supported = FAMILIES.map(({ type }) => type).join(', ');
    throw fail(`expected a model_type among ${supported}; got ${show(type)}`);
  }
  if (Array.isArray(architectures) && !architectures.includes(family.architecture)) {
    const got = show(architectures);
    throw fail(`expected the architecture ${family.architecture}, a language model with its head; got ${got}`);
  }
  return family;
}

/** The content of a `config.json` that transformers 4 and 5 both load, and that `parseConfig` reads back unchanged. */
export function configToJson(config: ModelConfig): Json {
  const family = familyOf(config);
  return { architectures: [family.architecture], model_type: family.type, ...family.write(config) };
}
