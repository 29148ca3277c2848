import { BtsError } from '../../errors.js';

export function badTokenizer(message: string, cause?: unknown): BtsError {
  return new BtsError('BAD_TOKENIZER', message, { cause });
}
