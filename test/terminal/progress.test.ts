import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compact, duration, Progress } from '../../lib/terminal/progress.js';
import { displayWidth } from '../../lib/terminal/text-width.js';

/** A stream that keeps what is written, and a clock that is set by hand. */
function setup(isTTY: boolean, columns = 100) {
  const written: string[] = [];
  const clock = { ms: 0 };
  const stream = { isTTY, columns, write: (text: string) => written.push(text) };
  return { written, clock, options: { stream, now: () => clock.ms } };
}

const term = process.env.TERM;
test.before(() => {
  process.env.TERM = 'xterm';
});
test.after(() => {
  if (term === undefined) delete process.env.TERM;
  else process.env.TERM = term;
});

test('shows count, percent, fields, elapsed time and time left', () => {
  const { written, clock, options } = setup(true);
  const progress = new Progress('expert code', { ...options, total: 500 });
  clock.ms = 30_000;
  progress.update(120, ['loss 3.21', '12.3k tokens/s']);
  assert.equal(written, ['\rexpert code  120/500  24%  loss 3.21  12.3k tokens/s  0:30, 1:35 left\x1b[K']);
});

test('redraws at most ten times a second', () => {
  const { written, clock, options } = setup(true);
  const progress = new Progress('work', { ...options, total: 1000 });
  for (let step = 0; step <= 1000; step++) {
    clock.ms = step;
    progress.update(step);
  }
  assert.is(written.length, 11);
});

test('the time left counts only what was done here when earlier work goes on', () => {
  const { written, clock, options } = setup(true);
  const progress = new Progress('work', { ...options, total: 100, from: 80 });
  progress.update(80);
  assert.ok(written[0]!.endsWith('80%  0:00\x1b[K'));
  clock.ms = 10_000;
  progress.update(90);
  assert.match(written[1]!, /0:10, 0:10 left/);
});

test('without a total there is no percent and no time left', () => {
  const { written, clock, options } = setup(true);
  clock.ms = 1;
  new Progress('reading', options).update(7);
  assert.equal(written, ['\rreading  7  0:00\x1b[K']);
});

test('a line is cut before the last column of the terminal', () => {
  const { written, options } = setup(true, 20);
  new Progress('文字文字文字文字文字文字', { ...options, total: 5 }).update(1);
  const line = written[0]!.slice(1, -3);
  assert.ok(displayWidth(line) <= 19 && displayWidth(line) >= 18, line);
  assert.ok(line.endsWith('…'));
});

test('where the stream is no terminal there is a plain line every half minute and one at the end', () => {
  const { written, clock, options } = setup(false);
  const progress = new Progress('work', { ...options, total: 100 });
  for (let step = 0; step <= 100; step++) {
    clock.ms = step * 1000;
    progress.update(step);
  }
  progress.done();
  assert.equal(
    written.map((line) => line.slice(0, 14)),
    ['work  30/100  ', 'work  60/100  ', 'work  90/100  ', 'work  100/100 '],
  );
  assert.ok(written.every((line) => line.endsWith('\n') && !line.includes('\r') && !line.includes('\x1b')));
});

test('done ends the line once, and nothing is drawn after it', () => {
  const { written, options } = setup(true);
  const progress = new Progress('work', { ...options, total: 2 });
  progress.update(1);
  progress.done('work: stopped');
  progress.done('again');
  progress.update(2);
  assert.equal(written.slice(1), ['\r\x1b[Kwork: stopped\n']);
});

test('done without a message leaves the last count, drawn or not', () => {
  const { written, options } = setup(true);
  const progress = new Progress('work', { ...options, total: 2 });
  progress.update(1);
  progress.update(2);
  progress.done();
  assert.match(written.at(-1)!, /work {2}2\/2 {2}100%.*\n$/);
});

test('done before any update writes nothing', () => {
  const { written, options } = setup(true);
  new Progress('work', options).done();
  assert.equal(written, []);
});

test('a printed line stands above the progress line', () => {
  const { written, options } = setup(true);
  const progress = new Progress('work', { ...options, total: 2 });
  progress.update(1);
  progress.print('a warning');
  assert.equal(written.slice(1), ['\r\x1b[Ka warning\n', written[0]]);
});

test('a terminal that cannot move its cursor gets plain lines', () => {
  process.env.TERM = 'dumb';
  const { written, options } = setup(true);
  const progress = new Progress('work', options);
  progress.update(1);
  progress.done('finished');
  process.env.TERM = 'xterm';
  assert.equal(written, ['finished\n']);
});

test('durations and counts are short', () => {
  assert.equal([400, 7000, 754_000, 11_109_000].map(duration), ['0:00', '0:07', '12:34', '3:05:09']);
  assert.equal([0, 7, 999, 999.6, 12_345, 1_500_000, -2500].map(compact), [
    '0',
    '7',
    '999',
    '1k',
    '12.3k',
    '1.5M',
    '-2.5k',
  ]);
});

test.run();
