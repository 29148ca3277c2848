/** The tasks of the reproduction: the same for the same seed, and not in the training text. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DataFolder } from '../../lib/eval/data/data-folder.js';
import { readOwnTask } from '../../lib/eval/own/own-task.js';
import { inTemporaryFolder } from '../support/models.js';

const url = (name: string) => new URL(`../../bench/reproduce/${name}`, import.meta.url).href;
const { arithmetic, idioms, phrases, writeExercises } = await import(url('exercises.mjs'));
const { Random } = await import(url('random.mjs'));

const PAIRS = ['Français', 'Español', 'Русский'].flatMap((language) =>
  Array.from({ length: 2000 }, (_, i) => [language, `phrase ${i}`, `${language} ${'x'.repeat(i % 40)} ${i}`]),
);
const draws = { arithmetic, idioms, phrases: phrases(PAIRS, new Random(1)) };

for (const [name, draw] of Object.entries(draws)) {
  test(`${name}: no question stands in the training text, and one of four choices is right`, async () => {
    await inTemporaryFolder(async (folder) => {
      const read = async (place: string) => {
        writeExercises(join(folder, place), name, draw, { seed: 7 });
        return await readFile(join(folder, place, `${name}.jsonl`), 'utf8');
      };
      const text = await read('first');
      assert.is(await read('second'), text, 'the same seed gives the same text');
      const trained = new Set<string>();
      for (const line of text.trim().split('\n')) {
        for (const exercise of JSON.parse(line).text.split('\n\n')) trained.add(exercise);
      }
      const task = await readOwnTask(join(folder, 'first', `${name}.json`));
      const documents = await task.documents(new DataFolder(folder));
      assert.is(documents.length, 300);
      const labels = new Set<number>();
      for (const doc of documents) {
        const choices = task.choices!(doc);
        assert.is(new Set(choices).size, 4);
        const label = task.answer(doc) as number;
        labels.add(label);
        assert.not.ok(trained.has(`${task.question(doc)} ${choices[label]}`), task.question(doc));
      }
      assert.is(labels.size, 4, 'the right choice stands anywhere');
    });
  });
}

test.run();
