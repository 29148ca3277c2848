import { access } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { BtsError } from '../../base/errors.js';
import { overwrite } from '../../base/overwrite.js';
import { Choices } from './choices.js';
import { code } from './code.js';
import type { Document, Domain } from './documents.js';
import { languages } from './languages.js';
import { mathProblems } from './math-problems.js';
import { findNpm, findPackages, type InstalledPackage, stopIfAborted } from './packages.js';
import { prose } from './prose.js';

export const DOMAINS = ['prose', 'code', 'languages', 'math'] as const;
export type DomainName = (typeof DOMAINS)[number];

export interface CollectedDomain {
  name: DomainName;
  /** The file, one `{"text": ...}` per line. */
  path: string;
  documents: number;
  /** Bytes of text in UTF-8, without the JSON around it. */
  bytes: number;
  /** Where the text is from, for people. */
  sources: string;
}

export interface CollectOptions {
  signal?: AbortSignal | undefined;
  /** Each domain gets at most this many bytes of text, at least 10,000; default 4 MiB. */
  maxBytesPerDomain?: number;
  /** The folder of the package that is read with those installed beside it; default this one's own, and npm with its packages. */
  packageRoot?: string;
  /** The domains to collect; default all four. */
  domains?: readonly DomainName[];
  /** Chooses the documents, their order and the math problems; default 1. */
  seed?: number;
}

/** Less text than this trains nothing worth looking at. */
const FEWEST_BYTES = 64 << 10;

/**
 * Collects text in four domains without network, wherever this package is installed: English documentation and source code
 * of this package, of those beside it and of npm, which comes with Node.js, and, generated, phrases in other languages and math problems with solutions. Writes
 * one `<domain>.jsonl` per domain to `folder`, documents in random order; the domains are cut to the size of the smallest,
 * so that none is learned better for being larger. The same packages and seed give the same files.
 *
 * @throws BtsError `BAD_DATA` where there is too little text, `BAD_OPTION`, `FILE_IO`, `ABORTED`.
 */
export async function collectTexts(folder: string, options: CollectOptions = {}): Promise<CollectedDomain[]> {
  const { signal, maxBytesPerDomain = 4 << 20, domains = DOMAINS, seed = 1 } = options;
  if (!(maxBytesPerDomain >= 10_000)) {
    throw new BtsError('BAD_OPTION', `maxBytesPerDomain is at least 10000 bytes, not ${maxBytesPerDomain}.`);
  }
  const needsPackages = domains.some((name) => name === 'prose' || name === 'code');
  const packages = needsPackages ? await packagesFor(options.packageRoot, signal) : [];

  const open: Record<DomainName, () => Domain> = {
    prose: () => prose(packages, new Choices(seed, 'prose')),
    code: () => code(packages, new Choices(seed, 'code'), maxBytesPerDomain),
    languages: () => languages(new Choices(seed, 'languages')),
    math: () => mathProblems(new Choices(seed, 'math')),
  };

  const collected: { name: DomainName; domain: Domain; documents: Document[] }[] = [];
  for (const name of domains) {
    const domain = open[name]();
    collected.push({ name, domain, documents: await take(domain.documents, maxBytesPerDomain, signal) });
    const bytes = textBytes(collected.at(-1)!.documents);
    if (bytes < Math.min(FEWEST_BYTES, maxBytesPerDomain / 10)) {
      throw new BtsError(
        'BAD_DATA',
        `Only ${bytes} bytes of text were found for the domain '${name}', in this package and those installed beside it: ` +
          `give a text of your own with --domain ${name}=path.`,
      );
    }
  }

  const limit = Math.min(...collected.map(({ documents }) => textBytes(documents)));
  const results: CollectedDomain[] = [];
  for (const { name, domain, documents } of collected) {
    const taken = await take(documents, limit, signal);
    const path = join(folder, `${name}.jsonl`);
    const shuffled = new Choices(seed, `order of ${name}`).shuffle(taken);
    await overwrite(path, shuffled.map(({ text }) => `${JSON.stringify({ text })}\n`).join(''));
    const sources = domain.describe(taken);
    results.push({ name, path, documents: taken.length, bytes: textBytes(taken), sources });
  }
  return results;
}

async function packagesFor(packageRoot: string | undefined, signal?: AbortSignal): Promise<InstalledPackage[]> {
  if (packageRoot !== undefined) return await findPackages(packageRoot, [], signal);
  const npm = await findNpm();
  return await findPackages(await ownRoot(), npm ? [npm] : [], signal);
}

/** Documents in a row that no longer fit before the rest are not looked at: some generators never end. */
const MOST_SKIPPED = 16;

/** Takes documents that fit into `maxBytes` together, passing over those that are too long for what is left. */
async function take(
  documents: AsyncIterable<Document> | Iterable<Document>,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Document[]> {
  const taken: Document[] = [];
  let bytes = 0;
  let skipped = 0;
  for await (const document of documents) {
    stopIfAborted(signal);
    const size = Buffer.byteLength(document.text);
    if (bytes + size > maxBytes) {
      if (++skipped > MOST_SKIPPED) break;
      continue;
    }
    skipped = 0;
    bytes += size;
    taken.push(document);
    if (taken.length % 500 === 0) await setImmediate();
  }
  return taken;
}

function textBytes(documents: readonly Document[]): number {
  return documents.reduce((bytes, { text }) => bytes + Buffer.byteLength(text), 0);
}

/** This package's root: the nearest folder above this file with a package.json, in the sources as in the build. */
async function ownRoot(): Promise<string> {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (folder !== dirname(folder)) {
    try {
      await access(join(folder, 'package.json'));
      return folder;
    } catch {
      folder = dirname(folder);
    }
  }
  return folder;
}
