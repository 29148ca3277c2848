import { BtsError } from '../../base/errors.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import type { Tokenizer } from '../../data/tokenizer.js';

/** How a tokenizer and a model's embedding disagree. */
export interface VocabularyFault {
  level: 'error' | 'warning';
  /** One sentence or two. */
  message: string;
}

/**
 * What is wrong between a tokenizer and the rows of the embedding; undefined where nothing is, as where rows are left over.
 * Tokens that were added to a vocabulary without a row of their own may never be used: BAD_TOKEN tells if one is.
 *
 * @param owner names the model in the message
 */
export function vocabularyFault(
  { vocabularySize }: ModelConfig,
  tokenizer: Tokenizer,
  owner: string,
): VocabularyFault | undefined {
  if (tokenizer.vocabularySize <= vocabularySize) return undefined;
  if (tokenizer.modelVocabularySize > vocabularySize) {
    const message = `the tokenizer of ${owner} has ${tokenizer.vocabularySize} tokens, the model's vocabulary ${vocabularySize}: it belongs to another model.`;
    return { level: 'error', message };
  }
  const beyond = Array.from(
    { length: tokenizer.vocabularySize - vocabularySize },
    (_, i) => `${JSON.stringify(tokenizer.idToToken(vocabularySize + i))} (${vocabularySize + i})`,
  );
  const shown = beyond.slice(0, 5).join(', ') + (beyond.length > 5 ? ` and ${beyond.length - 5} more` : '');
  const message = `added tokens of ${owner} lie beyond its embedding of ${vocabularySize} rows: ${shown}. Text that holds one cannot be used.`;
  return { level: 'warning', message };
}

const warned = new Set<string>();

/** Throws BAD_TOKENIZER unless a checkpoint's tokenizer fits its model; warns, once, of tokens without a row. */
export function expectVocabulary(config: ModelConfig, tokenizer: Tokenizer | undefined, folder: string): void {
  const fault = tokenizer && vocabularyFault(config, tokenizer, `'${folder}'`);
  if (fault?.level === 'error') throw new BtsError('BAD_TOKENIZER', fault.message);
  if (!fault || warned.has(fault.message)) return;
  warned.add(fault.message);
  process.emitWarning(fault.message, { type: 'BtsWarning', code: 'TOKENS_BEYOND_EMBEDDING' });
}
