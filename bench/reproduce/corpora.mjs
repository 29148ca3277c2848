// node bench/reproduce/corpora.mjs <folder>: the text and the tasks of full.yaml, out of Debian packages and package lists.
// Packages are downloaded with apt-get and unpacked, not installed. What is in the folder already is left as it is.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { arithmetic, idioms, phrases, writeExercises } from './exercises.mjs';
import { readPhrases } from './phrases.mjs';
import { Random } from './random.mjs';

/** Each domain's packages, the files in them, and how a file becomes documents. */
const DOMAINS = {
  prose: [{ package: 'anarchism', files: /\/html\/.*\.html$/, documents: fromHtml }],
  code: [
    { package: 'libpython3.11-stdlib', files: /\.py$/, documents: whole },
    { package: 'python3-networkx', files: /\.py$/, documents: whole },
  ],
  languages: [
    {
      package: 'debian-handbook',
      files: /\/html\/(nl-NL|es-ES|pt-BR|vi-VN|id-ID|fr-FR|ru-RU)\/.*\.html$/,
      documents: fromHtml,
    },
  ],
  math: [{ package: 'metamath-databases', files: /\/set\.mm(\.gz)?$/, documents: fromMetamath }],
};
const FEWEST_CHARACTERS = 200;
/** Of each domain; documents are taken in random order. */
const MOST_BYTES = 6e6;
const SEED = 1;
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: ' ', ndash: '–', mdash: '—', hellip: '…' };

const folder = resolve(process.argv[2] ?? 'corpora');
mkdirSync(folder, { recursive: true });
for (const [domain, sources] of Object.entries(DOMAINS)) {
  const target = join(folder, `${domain}.jsonl`);
  if (existsSync(target)) continue;
  const documents = upTo(MOST_BYTES, new Random(SEED).sample(sources.flatMap(read)));
  writeFileSync(`${target}.new`, documents.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  renameSync(`${target}.new`, target);
  const bytes = documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  console.log(`${domain}: ${documents.length} documents, ${(bytes / 1e6).toFixed(1)} MB`);
}
const exercises = join(folder, 'exercises');
if (!existsSync(exercises)) {
  const unfinished = `${exercises}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  writeExercises(unfinished, 'arithmetic', arithmetic, { seed: SEED });
  writeExercises(unfinished, 'idioms', idioms, { seed: SEED, metric: 'acc_norm' });
  const draw = phrases(readPhrases(), new Random(SEED));
  writeExercises(unfinished, 'phrases', draw, { seed: SEED, metric: 'acc_norm' });
  renameSync(unfinished, exercises);
  console.log('exercises: arithmetic, idioms, phrases');
}

/** The first documents that have no more bytes together. */
function upTo(bytes, documents) {
  let rest = bytes;
  return documents.filter((text) => {
    rest -= Buffer.byteLength(text);
    return rest >= 0;
  });
}

/** The documents of one package. */
function read({ package: name, files, documents }) {
  const place = mkdtempSync(join(tmpdir(), 'bts-corpora-'));
  try {
    execFileSync('apt-get', ['download', '-o', 'APT::Sandbox::User=root', name], {
      cwd: place,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const archive = readdirSync(place).find((file) => file.endsWith('.deb'));
    execFileSync('dpkg', ['-x', archive, 'unpacked'], { cwd: place });
    const paths = readdirSync(join(place, 'unpacked'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
      .filter((path) => files.test(path))
      .sort();
    const seen = new Set();
    return paths
      .flatMap((path) => documents(readFileSync(path, 'utf8')))
      .filter((text) => text.length >= FEWEST_CHARACTERS && !seen.has(text) && seen.add(text));
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function whole(text) {
  return [text.trim()];
}

/** A page's text: blocks become paragraphs, everything else that is no text goes. */
function fromHtml(page) {
  const body = page.replace(/.*?<body[^>]*>/is, '').replace(/<(script|style|head).*?<\/\1>/gis, '');
  const text = body
    .replace(/<\/?(p|div|h\d|li|ul|ol|tr|table|br|pre|blockquote|dt|dd)\b[^>]*>/gi, '\n\n')
    .replace(/<[^>]*>/g, '')
    .replace(/&#(x?)([0-9a-f]+);/gi, (_, hex, digits) => String.fromCodePoint(Number.parseInt(digits, hex ? 16 : 10)))
    .replace(/&(\w+);/g, (entity, name) => ENTITIES[name] ?? entity);
  const paragraphs = text.split(/\n\s*\n/).map((paragraph) => paragraph.replace(/\s+/g, ' ').trim());
  return [paragraphs.filter(Boolean).join('\n\n')];
}

/** The comments of a Metamath database, which say in words and formulas what is proved. */
function fromMetamath(database) {
  return [...database.matchAll(/\$\((.*?)\$\)/gs)].map(([, comment]) => comment.replace(/\s+/g, ' ').trim());
}
