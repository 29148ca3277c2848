/** Windows that layers see through: which layers have one, and how config.json says so. */
import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import type { ModelConfig, Window } from '../model-config.js';
import type { Json } from './family.js';
import { count, MAX_INT32 } from './keys.js';

const Keys = z.object({
  sliding_window: count(MAX_INT32).nullish(),
  layer_types: z.array(z.enum(['full_attention', 'sliding_attention'])).nullish(),
});

/**
 * The window of the layers that `layer_types` lists as sliding. Where there is no list, `slides` says which do; it is told
 * the width of the window, null where there is none.
 */
export function readWindow(
  given: Json,
  layers: number,
  fail: Fail,
  slides: (index: number, tokens: number | null) => boolean,
): Window | null {
  const { sliding_window: tokens = null, layer_types: types } = check(Keys, given, fail);
  if (types && types.length !== layers) throw fail(`layer_types has ${types.length} entries for ${layers} layers`);
  const all = Array.from({ length: layers }, (_, index) => index);
  const sliding = all.filter((index) => (types ? types[index] === 'sliding_attention' : slides(index, tokens)));
  if (sliding.length === 0) return null;
  if (tokens === null) throw fail(`${sliding.length} of ${layers} layers slide over a window of null tokens`);
  return { tokens, layers: sliding };
}

/** A family that has one window for all layers, or none: a list that says otherwise is not to be trusted. */
export function readUniformWindow(given: Json, layers: number, fail: Fail): Window | null {
  const window = readWindow(given, layers, fail, (_, tokens) => tokens !== null);
  const tokens = given.sliding_window ?? null;
  if ((window?.layers.length ?? 0) !== (tokens === null ? 0 : layers)) {
    throw fail(`layer_types contradicts sliding_window ${tokens}, which is that of all layers`);
  }
  return window;
}

/** A family without windows: the list of its layers must have none. */
export function expectNoWindow(given: Json, layers: number, fail: Fail): void {
  readWindow({ ...given, sliding_window: null }, layers, fail, () => false);
}

/** `layer_types`, which versions of transformers agree about. */
export function layerTypes({ layers, attention: { window } }: ModelConfig): string[] {
  const sliding = new Set(window?.layers);
  return Array.from({ length: layers }, (_, index) => (sliding.has(index) ? 'sliding_attention' : 'full_attention'));
}
