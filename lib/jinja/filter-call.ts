import { bind, type Parameters } from '../python/call.js';
import type { Value } from '../python/values.js';
import type { Evaluator, Filter } from './evaluator.js';

/** A filter by its parameters, `?` for those that may be left out, and what it does with them. */
export function filter(
  parameters: Parameters,
  apply: (value: Value, args: readonly (Value | undefined)[], evaluator: Evaluator) => Value,
): Filter {
  return (evaluator, value, args, keywords) => apply(value, bind('filter', parameters, args, keywords), evaluator);
}
