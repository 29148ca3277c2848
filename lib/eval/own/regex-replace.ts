import type { Filter } from '../../jinja/environment.js';
import { bind, expectIndex, expectText } from '../../python/call.js';
import { pythonRegex, substitute } from '../../python/regex.js';

/** lm-eval's filter `regex_replace(pattern, repl, count=0)`: Python's `re.sub`. */
export const regexReplace: Filter = (_, value, args, keywords) => {
  const [pattern, replacement, count = 0n] = bind('regex_replace', ['pattern', 'repl', 'count?'], args, keywords);
  return substitute(
    pythonRegex(expectText(pattern, 'pattern')),
    expectText(replacement, 'repl'),
    expectText(value, 'string'),
    expectIndex(count, 'count'),
  );
};
