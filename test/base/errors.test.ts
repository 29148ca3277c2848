import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';

test('a message that quotes too much keeps its beginning and what to do', () => {
  const { message } = new BtsError('BAD_DATA', `The file says '${'a'.repeat(100_000)}'. Write something else.`);
  assert.is(message.length, 4000);
  assert.match(message, /^The file says 'aaa.*aaa … aaa.*aaa'\. Write something else\.$/);
  const whole = 'a'.repeat(4000);
  assert.is(new BtsError('BAD_DATA', whole).message, whole);
});

test.run();
