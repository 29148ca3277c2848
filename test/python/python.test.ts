import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PythonRandom } from '../../lib/python/random.js';
import { findAll, pythonRegex } from '../../lib/python/regex.js';
import { countWords, splitWords, strip } from '../../lib/python/text.js';
import { fails } from '../data/data-fixtures.js';

test("random numbers are CPython's", () => {
  // random.Random(1234): random() twice, sample(range(10), 3), sample(range(1000), 6), choices(range(7), k=5)
  const random = new PythonRandom(1234);
  assert.equal([random.random(), random.random()], [0.9664535356921388, 0.4407325991753527]);
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
  assert.equal(random.sample(upTo(10), 3), [0, 1, 9]);
  assert.equal(random.sample(upTo(1000), 6), [687, 709, 85, 100, 784, 363]);
  assert.equal([...random.choices(7, 5)], [1, 0, 5, 2, 4]);
  assert.equal(new PythonRandom(1234).sample(upTo(7473), 8), [6374, 3610, 957, 61, 742, 7462, 6610, 4769]);
});

test('regular expressions match what they match in Python', () => {
  const found = (pattern: string, text: string) => findAll(pythonRegex(pattern), text);
  assert.equal(found('#### (\\-?[0-9\\.\\,]+)', 'a #### -1,2.5 b'), ['-1,2.5']);
  assert.equal(found('(a)|(b)', 'ab'), [
    ['a', ''],
    ['', 'b'],
  ]);
  assert.equal(found('x.', 'x\n x\r x\u2028'), ['x\r', 'x\u2028'], 'a dot is anything but a newline');
  assert.equal(found('(?s)x.', 'x\n'), ['x\n']);
  assert.equal(found('a$', 'a\n'), ['a'], 'the end is also before a last newline');
  assert.equal(found('a$', 'a\nb'), []);
  assert.equal(found('\\d+', '٣4'), ['٣4'], 'digits are those of Unicode');
  assert.equal(found('\\bé\\b', 'é éa'), ['é'], 'words have letters of Unicode');
  assert.equal(found('[\\w-]+', 'a-ß c'), ['a-ß', 'c']);
  assert.equal(found('(?P<n>a)(?P=n)', 'aa'), ['a']);
  assert.equal(found('a{2}b{,1}{', 'aab{ aa{'), ['aab{', 'aa{']);
  assert.equal(found('[]a]+', 'a]b'), ['a]']);
  assert.equal(found('(?i)ab', 'AB'), ['AB']);
  assert.equal(found('(?m)^b$', 'a\nb\nc'), ['b']);
});

test('a regular expression that cannot be used is named', async () => {
  await fails(() => pythonRegex('('), 'BAD_OPTION', /'\('/);
  // What is too large to compile is told before a text is looked at.
  await fails(() => pythonRegex('a'.repeat(5_000_000)), 'BAD_OPTION', /'a+…' cannot be used/);
});

test('white space is what Python takes for it', () => {
  assert.is(strip('\u00a0\x1c\u3000 a b\x85\n'), 'a b');
  assert.is(strip('\ufeffa'), '\ufeffa', 'a byte order mark is none');
  assert.equal(splitWords(' a\u2003b\n'), ['a', 'b']);
  assert.is(countWords(' a b '), 4);
});

test.run();
