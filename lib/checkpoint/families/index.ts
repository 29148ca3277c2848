/** Every family of models that can be read: a new one is a file beside this and a line in the list. */
import type { Family } from './family.js';
import { gemma2 } from './gemma2.js';
import { gemma3 } from './gemma3.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { olmo2 } from './olmo2.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';
import { smollm3 } from './smollm3.js';

export const FAMILIES: readonly Family[] = [llama, mistral, qwen2, qwen3, gemma2, gemma3, phi3, olmo2, smollm3];

/** The family of a configuration, whose `model_type` is known. */
export function familyOf({ family }: { family: string }): Family {
  return FAMILIES.find(({ type }) => type === family)!;
}
