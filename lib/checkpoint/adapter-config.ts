import { z } from 'zod';
import { check, type Fail } from '../base/check.js';
import { show } from '../base/show.js';
import { pythonMatch } from '../python/match.js';
import { withinTime } from '../python/within-time.js';
import { quote } from './safetensors-header.js';

export const ADAPTER_CONFIG = 'adapter_config.json';

const NOTHING = 'it adapts nothing: exclude_modules or the chosen layers leave out all that target_modules names';
const MOST_ENTRIES = 1 << 16;
const Name = z.string().max(10_000);
const Names = z.array(Name).max(MOST_ENTRIES);
const Rank = z
  .int()
  .min(1)
  .max(1 << 20);
const Alpha = z.number();
const Layer = z.int().min(0);
const Flag = z
  .boolean()
  .nullish()
  .transform((flag) => flag ?? false);

const Keys = z.object({
  r: Rank.default(8),
  lora_alpha: Alpha.default(8),
  target_modules: z.union([Name, Names], { error: 'expected names of modules or an expression' }),
  exclude_modules: z.union([Name, Names]).nullish(),
  rank_pattern: z.record(Name, Rank).nullish(),
  alpha_pattern: z.record(Name, Alpha).nullish(),
  use_rslora: Flag,
  layers_to_transform: z.union([Layer, z.array(Layer).max(MOST_ENTRIES)]).nullish(),
  layers_pattern: z.union([Name, Names]).nullish(),
  bias: z.enum(['none', 'all', 'lora_only']).default('none'),
  modules_to_save: Names.nullish(),
  base_model_name_or_path: z.string().nullish(),
});

// How weights were made before they were trained, and what concerns training alone. An initialization that also changes the
// weights of the base is refused: the adapter is one of what the base became.
const WITHOUT_MEANING = new Set([
  ...['peft_type', 'task_type', 'auto_mapping', 'revision', 'inference_mode', 'peft_version', 'lora_dropout'],
  ...['init_lora_weights', 'loftq_config', 'eva_config', 'corda_config', 'lora_ga_config', 'runtime_config'],
  ...['megatron_core', 'qalora_group_size', 'ensure_weight_tying'],
]);
const PLAIN_BEGINNINGS = ['gaussian', 'eva', 'orthogonal'];

/** What an adapter says of a module's matrix. */
export interface Adaptation {
  rank: number;
  /** Of B A. */
  scale: number;
}

/** What `adapter_config.json` says of a LoRA adapter, as PEFT understands it. Modules have PEFT's names, `model.layers.0.mlp.up_proj`. */
export interface AdapterConfig {
  /** All of it, as it was read. */
  readonly json: object;
  /** What the base is called, which may be a folder. */
  readonly base: string | undefined;
  /** Which biases were trained. */
  readonly bias: 'none' | 'all' | 'lora_only';
  /** Whether a module, or one that it is part of, was trained and saved whole. */
  isSaved(module: string): boolean;
  /**
   * What is adapted among `modules`; 'all-linear' means those for whom `isLinear` holds. Throws where a target names nothing.
   */
  adaptations(modules: readonly string[], isLinear: (module: string) => boolean): Map<string, Adaptation>;
}

/** Reads the content of an `adapter_config.json`. Throws what `fail` makes where it is malformed or describes what this package would compute otherwise than PEFT. */
export function parseAdapterConfig(json: unknown, fail: Fail): AdapterConfig {
  const given = check(z.looseObject({}), json, fail);
  expectPlainLora(given, fail);
  const keys = check(Keys, given, fail);
  const { target_modules: targets, exclude_modules: excluded, layers_to_transform: layers } = keys;
  if (typeof targets === 'string' && layers != null)
    throw fail('layers_to_transform goes with a list of target_modules, and not with an expression');
  const saved = keys.modules_to_save ?? [];
  const inTime = <T>(work: () => T) =>
    withinTime(work, (seconds) => fail(`finding its modules took more than ${seconds} seconds`));

  return {
    json: given,
    base: keys.base_model_name_or_path ?? undefined,
    bias: keys.bias,
    isSaved: (module) =>
      saved.some((name) => module.split('.').some((_, i, parts) => endsWith(parts.slice(0, i + 1).join('.'), name))),
    adaptations: (modules, isLinear) =>
      inTime(() => {
        const found = modules.filter((module) => isTarget(module, isLinear));
        expectAllFound(modules);
        if (found.length === 0) throw fail(NOTHING);
        return new Map(found.map((module) => [module, adaptation(module)]));
      }),
  };

  function isTarget(module: string, isLinear: (module: string) => boolean): boolean {
    if (excluded != null && matches(excluded, module, fail)) return false;
    if (typeof targets === 'string' && targets.toLowerCase() === 'all-linear') return isLinear(module);
    return matches(targets, module, fail) && inLayers(module);
  }

  function inLayers(module: string): boolean {
    const wanted = layers == null ? [] : [layers].flat();
    if (wanted.length === 0) return true;
    const patterns = [keys.layers_pattern ?? []].flat();
    const expressions = patterns.length === 0 ? ['[^.]*'] : patterns;
    for (const expression of expressions) {
      const index = pythonMatch(`.*\\.(?:${expression})\\.(\\d+)\\.`, module, fail)?.at(-1);
      if (index !== undefined) return wanted.includes(Number(index));
    }
    return false;
  }

  function expectAllFound(modules: readonly string[]): void {
    const isExpression = typeof targets === 'string';
    if (isExpression && targets.toLowerCase() === 'all-linear') return;
    const parts: (string | string[])[] = isExpression ? [targets] : targets.map((name) => [name]);
    const idle = parts.find((part) => !modules.some((module) => matches(part, module, fail)));
    if (idle === undefined && parts.length > 0) return;
    const last = [...new Set(modules.map((module) => module.split('.').at(-1)))].join(', ');
    throw fail(`target_modules: ${quote(String(idle ?? '[]'))} names nothing in the base, which has ${last}`);
  }

  function adaptation(module: string): Adaptation {
    const rank = patterned(keys.rank_pattern, module, fail) ?? keys.r;
    const alpha = patterned(keys.alpha_pattern, module, fail) ?? keys.lora_alpha;
    const scale = alpha / (keys.use_rslora ? Math.sqrt(rank) : rank);
    if (!Number.isFinite(Math.fround(scale))) throw fail(`the scale of ${quote(module)} is ${scale}`);
    return { rank, scale };
  }
}

function expectPlainLora(given: Record<string, unknown>, fail: Fail): void {
  if (given.peft_type !== 'LORA') {
    throw fail(`peft_type is ${show(given.peft_type)}, only 'LORA' is supported`);
  }
  if (given.task_type != null && given.task_type !== 'CAUSAL_LM') {
    throw fail(`task_type is ${show(given.task_type)}, only 'CAUSAL_LM' is supported`);
  }
  if (given.use_dora === true)
    throw fail('use_dora: adapters with magnitudes (DoRA) are not supported, merge it first');
  const beginning = given.init_lora_weights;
  if (typeof beginning === 'string' && !PLAIN_BEGINNINGS.includes(beginning.toLowerCase())) {
    throw fail(
      `init_lora_weights ${quote(beginning)} changes the weights of the base: convert it to a plain adapter with PEFT`,
    );
  }
  for (const [key, value] of Object.entries(given)) {
    if (key in Keys.shape || WITHOUT_MEANING.has(key) || isNothing(value)) continue;
    throw fail(`${quote(key)} is ${show(value)}, which is not supported`);
  }
}

/** Whether a value says that something is not used. */
function isNothing(value: unknown): boolean {
  if (value == null || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

const endsWith = (module: string, name: string) => module === name || module.endsWith(`.${name}`);

/** Whether an expression is all of a module's name, or one of a list is it or its end. */
function matches(targets: string | readonly string[], module: string, fail: Fail): boolean {
  if (typeof targets === 'string') return pythonMatch(`(?:${targets})\\Z`, module, fail) !== undefined;
  return targets.some((name) => endsWith(module, name));
}

/** The value of the first expression that a module's name ends with. */
function patterned<T>(patterns: Record<string, T> | null | undefined, module: string, fail: Fail): T | undefined {
  for (const [key, value] of Object.entries(patterns ?? {}))
    if (pythonMatch(`(?:.*\\.)?(?:${key})$`, module, fail)) return value;
  return undefined;
}
