import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FALLBACK, lastNumber, regexFilter } from '../../lib/eval/filters.js';
import { exactMatch } from '../../lib/eval/metrics/exact-match.js';

test('a filter takes a match by number, its first group that is not empty, or the fallback', () => {
  const second = regexFilter('second', '(x)?(\\d)', { select: 1 });
  assert.is(second.extract('1 x2 3'), 'x');
  assert.is(second.extract('1'), FALLBACK);
  assert.is(regexFilter('own', 'y', { fallback: 'nothing' }).extract('x'), 'nothing');
  assert.is(lastNumber.extract('It costs $5,000.'), '$5,000.');
  assert.is(lastNumber.extract('7 or 8'), '8');
});

test('exact match ignores what it is told to', () => {
  assert.not(exactMatch('The Answer!', ['the answer']));
  assert.ok(exactMatch('The Answer!', ['the answer'], { ignoreCase: true, ignorePunctuation: true }));
  assert.ok(exactMatch('a1', ['wrong', 'a2'], { ignoreNumbers: true }));
  assert.ok(exactMatch('so #### 1,000.', ['1000'], { ignore: [',', '(?s).*#### ', '\\.$'] }));
});

test.run();
