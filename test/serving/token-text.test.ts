/** How answers spell single tokens, and which bytes they are. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Tokenizer } from '../../lib/data/tokenizer.js';
import { TokenText } from '../../lib/serving/http/token-text.js';
import { inTemporaryFolder, writeTokenizer } from '../support/models.js';

test('bytes of tokens make up the text, also where a token is a part of a character', () =>
  inTemporaryFolder(async (folder) => {
    await writeTokenizer(folder);
    const tokenizer = await Tokenizer.load(folder);
    const text = new TokenText(tokenizer);
    const written = 'né 🙂';
    const bytes = tokenizer.encode(written).flatMap((id) => text.bytesOf(id)!);
    assert.is(Buffer.from(bytes).toString(), written);
    assert.equal(text.bytesOf(0xc3), [0xc3]);
    assert.is(text.of(0xc3), 'Ã');
    assert.is(text.of('n'.charCodeAt(0)), 'n');
    assert.equal([text.of(99_999), text.bytesOf(99_999)], ['token_id:99999', null]);
  }));

test.run();
