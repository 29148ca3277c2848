/**
 * BLEU and chrF against sacreBLEU 2.6 on outputs of real translation systems. The reference is $BTS_BLEU_GOLDEN (default:
 * ../shared/data/benchmarks/flores101/systems/sacrebleu_golden.json); texts lie in its folder's parent, or in
 * $BTS_EVAL_DATA/flores101.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addBleuStatistics, bleu, bleuStatistics } from '../../lib/eval/metrics/bleu.js';
import type { BleuTokenizer } from '../../lib/eval/metrics/bleu-tokenizers.js';
import { addChrfStatistics, chrf, chrfStatistics } from '../../lib/eval/metrics/chrf.js';
import { shared } from '../support/devices.js';

interface Bleu {
  score: number;
  counts: number[];
  totals: number[];
  precisions: number[];
  bp: number;
  sys_len: number;
  ref_len: number;
}
type Row = { file: string; reference: string; chrf2?: { score: number }; 'chrf++'?: { score: number } } & {
  [key: `bleu_${string}`]: Bleu;
} & { [key: `sentence_${string}`]: number[] };

const shipped = shared('data/benchmarks/flores101/systems/sacrebleu_golden.json');
const path = process.env.BTS_BLEU_GOLDEN ?? shipped;
const folders = [
  ...(process.env.BTS_EVAL_DATA ? [join(process.env.BTS_EVAL_DATA, 'flores101')] : []),
  ...[path, shipped].flatMap((file) => [dirname(dirname(file)), dirname(file)]),
];

const metrics = suite('bleu and chrf');
const rows: Row[] = existsSync(path) ? JSON.parse(await readFile(path, 'utf8')).rows : [];
if (rows.length === 0) console.log(`bleu and chrf: skipped, there is nothing in ${path}`);

async function readSentences(file: string): Promise<string[]> {
  const found = folders.map((folder) => join(folder, file)).find(existsSync);
  assert.ok(found, `'${file}' lies in none of ${folders.join(', ')}`);
  return (await readFile(found, 'utf8')).replace(/\n$/, '').split('\n');
}

const close = (got: number, want: number, what: string) =>
  assert.ok(Math.abs(got - want) <= 1e-9 * Math.max(1, Math.abs(want)), `${what}: ${got}, sacreBLEU has ${want}`);

for (const row of rows) {
  metrics(`${row.file}: scores are sacreBLEU's`, async () => {
    const hypotheses = await readSentences(row.file);
    const references = await readSentences(row.reference);
    assert.is(hypotheses.length, references.length);
    let compared = 0;
    for (const key of Object.keys(row)) {
      const tokenizer = /^bleu_(\w+)$/.exec(key)?.[1] as BleuTokenizer | undefined;
      if (!tokenizer) continue;
      const want = row[key as `bleu_${string}`]!;
      const segments = hypotheses.map((text, i) => bleuStatistics(text, [references[i]!], tokenizer));
      const got = bleu(addBleuStatistics(segments));
      assert.equal(got.matches, want.counts, `${key} matches`);
      assert.equal(got.totals, want.totals, `${key} totals`);
      assert.equal([got.hypothesisLength, got.referenceLength], [want.sys_len, want.ref_len], `${key} lengths`);
      close(got.score, want.score, key);
      close(got.brevityPenalty, want.bp, `${key} brevity penalty`);
      for (const [n, precision] of want.precisions.entries()) close(got.precisions[n]!, precision, `${key} precision`);
      compared++;
    }
    for (const [key, wordOrder] of [
      ['chrf2', 0],
      ['chrf++', 2],
    ] as const) {
      const want = row[key];
      if (!want) continue;
      const segments = hypotheses.map((text, i) => chrfStatistics(text, [references[i]!], { wordOrder }));
      close(chrf(addChrfStatistics(segments)), want.score, key);
      compared++;
    }
    for (const [i, want] of (row.sentence_bleu_13a_first20 ?? []).entries()) {
      const got = bleu(bleuStatistics(hypotheses[i]!, [references[i]!]), { effectiveOrder: true });
      close(got.score, want, `BLEU of sentence ${i}`);
    }
    for (const [i, want] of (row.sentence_chrf2_first20 ?? []).entries()) {
      close(chrf(chrfStatistics(hypotheses[i]!, [references[i]!])), want, `chrF of sentence ${i}`);
    }
    assert.ok(compared > 0, 'there is nothing to compare');
  });
}

metrics('a hypothesis without a common word scores zero, an equal one a hundred', () => {
  assert.is(bleu(bleuStatistics('a b c d', ['e f g h'])).score, 0);
  close(bleu(bleuStatistics('the cat sat on the mat', ['the cat sat on the mat'])).score, 100, 'BLEU');
  assert.is(bleu(bleuStatistics('', ['something'])).score, 0);
  assert.is(chrf(chrfStatistics('', ['something'])), 0);
  assert.is(chrf(chrfStatistics('word', ['word'])), 100);
});

metrics('of several references n-grams count from any, the length from the closest, chrF from the best', () => {
  const several = bleuStatistics('the cat sat', ['a dog lay there', 'the cat slept']);
  assert.equal([several.matches[0], several.matches[1], several.referenceLength], [2, 1, 3]);
  assert.is(chrf(chrfStatistics('word', ['other', 'word'])), 100);
});

metrics.run();
