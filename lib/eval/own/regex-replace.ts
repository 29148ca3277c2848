import { TemplateError } from '../../jinja/errors.js';
import type { Filter } from '../../jinja/evaluator.js';
import { bind, expectIndex, expectText } from '../../python/call.js';
import { pythonRegex, substitute } from '../../python/regex.js';
import { withinTime } from '../../python/within-time.js';

/** lm-eval's filter `regex_replace(pattern, repl, count=0)`: Python's `re.sub`. */
export const regexReplace: Filter = (_, value, args, keywords) => {
  const [pattern, replacement, count = 0n] = bind('regex_replace', ['pattern', 'repl', 'count?'], args, keywords);
  const regex = pythonRegex(expectText(pattern, 'pattern'));
  const [template, text] = [expectText(replacement, 'repl'), expectText(value, 'string')];
  return withinTime(
    () => substitute(regex, template, text, expectIndex(count, 'count')),
    (seconds) => new TemplateError(`the regular expression '${pattern}' takes more than ${seconds} seconds`),
  );
};
