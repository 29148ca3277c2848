/** Short phrases in several languages: what Debian's packages are, in one line, as its translators wrote it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const LANGUAGES = { es: 'Español', fr: 'Français', pt_BR: 'Português', ru: 'Русский' };
const FEWEST_CHARACTERS = 12;
const MOST_CHARACTERS = 60;

/** Pairs [language, English, translation], from the package lists, which are fetched into a folder of their own. */
export function readPhrases() {
  const place = mkdtempSync(join(tmpdir(), 'bts-phrases-'));
  try {
    mkdirSync(join(place, 'lists', 'partial'), { recursive: true });
    const languages = ['en', ...Object.keys(LANGUAGES)];
    const settings = {
      'APT::Sandbox::User': 'root',
      'Dir::State::lists': join(place, 'lists'),
      'Dir::Cache': join(place, 'cache'),
      'Acquire::Languages': languages.join(','),
    };
    const given = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
    execFileSync('apt-get', ['update', ...given], { stdio: ['ignore', 'ignore', 'inherit'] });
    const files = readdirSync(join(place, 'lists')).sort();
    const read = (language) => {
      const end = `Translation-${language.replace('_', '%5f')}`;
      const own = files.filter((file) => new RegExp(`_i18n_${end}(\\.|$)`).test(file));
      return new Map(own.flatMap((file) => synopses(join(place, 'lists', file))));
    };
    const english = read('en');
    return Object.entries(LANGUAGES).flatMap(([code, language]) => {
      const pairs = new Map();
      for (const [hash, translation] of read(code)) {
        const original = english.get(hash);
        if (fits(original) && fits(translation) && original !== translation) pairs.set(original, translation);
      }
      return [...pairs].map(([original, translation]) => [language, original, translation]);
    });
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

const fits = (text) => text !== undefined && text.length >= FEWEST_CHARACTERS && text.length <= MOST_CHARACTERS;

/** The first line of each description, by the hash that names it in all languages. */
function synopses(path) {
  const text = execFileSync('/usr/lib/apt/apt-helper', ['cat-file', path], { encoding: 'utf8', maxBuffer: 2 ** 30 });
  return [...text.matchAll(/^Description-md5: (\w+)\nDescription-\w+: (.*)$/gm)].map(([, hash, line]) => [hash, line]);
}
