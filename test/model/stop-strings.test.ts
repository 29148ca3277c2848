import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StopStrings } from '../../lib/model/decoding/stop-strings.js';

/** What each piece releases, and what the end does. */
function feed(stops: string[], pieces: readonly string[]) {
  const strings = new StopStrings(stops);
  const released = pieces.map((piece) => strings.push(piece));
  return { released, end: strings.end(), stopped: strings.stopped };
}

test('without stop strings all text passes at once', () => {
  assert.equal(feed([], ['a', '', 'bc']), { released: ['a', '', 'bc'], end: '', stopped: false });
});

test('text ends before a stop string, whatever follows it', () => {
  assert.equal(feed(['END'], ['one END two', 'three']), { released: ['one ', ''], end: '', stopped: true });
  assert.equal(feed(['END'], ['END']), { released: [''], end: '', stopped: true });
});

test('a stop string is found where tokens split it', () => {
  assert.equal(feed(['stop'], ['a s', 't', 'op b']), { released: ['a ', '', ''], end: '', stopped: true });
  assert.equal(feed(['\n\n'], ['line\n', '\nnext']), { released: ['line', ''], end: '', stopped: true });
});

test('text that only began like a stop string is released as soon as that is certain', () => {
  assert.equal(feed(['stop'], ['st', 'ay']), { released: ['', 'stay'], end: '', stopped: false });
  assert.equal(feed(['abc'], ['ab', 'ab']), { released: ['', 'ab'], end: 'ab', stopped: false });
});

test('beginnings that overlap are told apart', () => {
  assert.equal(feed(['aab'], ['a', 'a', 'a', 'b']), { released: ['', '', 'a', ''], end: '', stopped: true });
  assert.equal(feed(['abab!'], ['aba', 'bab', '!']), { released: ['', 'ab', ''], end: '', stopped: true });
});

test('what was held back is released at the end', () => {
  assert.equal(feed(['\nQ:'], ['answer', '\nQ']), { released: ['answer', ''], end: '\nQ', stopped: false });
});

test('of several stop strings the first that appears ends the text', () => {
  assert.equal(feed(['###', '\n\n'], ['a#', '#\n', '\nb']), { released: ['a', '##', ''], end: '', stopped: true });
  assert.equal(feed(['yz', 'xyz'], ['wx', 'yz']), { released: ['w', ''], end: '', stopped: true });
  assert.equal(feed(['b', 'a'], ['xab']), { released: ['x'], end: '', stopped: true });
});

test('characters outside the basic plane may be stop strings', () => {
  assert.equal(feed(['🛑'], ['go 🟢', ' 🛑 no']), { released: ['go 🟢', ' '], end: '', stopped: true });
});

/** All texts over {a, b} of up to `length` characters. */
function texts(length: number): string[] {
  const shorter = length > 1 ? texts(length - 1) : [''];
  return [...shorter, ...shorter.filter((text) => text.length === length - 1).flatMap((t) => [`${t}a`, `${t}b`])];
}

/** A text cut in every possible way. */
function cuts(text: string): string[][] {
  return Array.from({ length: 2 ** (text.length - 1) }, (_, mask) =>
    [...text].reduce<string[]>((pieces, character, at) => {
      if (at > 0 && !((mask >> (at - 1)) & 1)) pieces.push(pieces.pop()! + character);
      else pieces.push(character);
      return pieces;
    }, []),
  );
}

test('however a text is cut, the result is the text before the stop string', () => {
  for (const stop of texts(3).filter(Boolean)) {
    for (const text of texts(6).filter(Boolean)) {
      const at = text.indexOf(stop);
      for (const pieces of cuts(text)) {
        const { released, end, stopped } = feed([stop], pieces);
        const told = `${JSON.stringify(pieces)} with stop ${stop}`;
        assert.is(stopped, at >= 0, told);
        assert.is(released.join('') + end, at < 0 ? text : text.slice(0, at), told);
      }
    }
  }
});

test('no more is held back than what begins a stop string', () => {
  for (const stop of texts(3).filter(Boolean)) {
    for (const text of texts(6).filter((text) => text && !text.includes(stop))) {
      const { released, end } = feed([stop], [...text]);
      let passed = '';
      for (const [at, piece] of released.entries()) {
        passed += piece;
        const held = text.slice(passed.length, at + 1);
        assert.ok(stop.startsWith(held), `${held} of ${text} was held back for ${stop}`);
      }
      assert.ok(stop.startsWith(end));
    }
  }
});

test.run();
