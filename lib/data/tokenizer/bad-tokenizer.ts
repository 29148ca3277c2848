import { BtsError } from '../../base/errors.js';

export function badTokenizer(message: string, cause?: unknown): BtsError {
  return new BtsError('BAD_TOKENIZER', message, { cause });
}
