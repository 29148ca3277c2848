import { BtsError } from '../../errors.js';
import { countSources, type Document, type Domain, inTurns, joinParts } from './documents.js';
import { proseParagraphs } from './markdown.js';
import { type InstalledPackage, readText } from './packages.js';

/** The compiler's messages in one language: { "message_key_1234": "Nachricht" }. */
const MESSAGES = /^lib\/([a-z]{2}(?:-[a-z]{2})?)\/diagnosticMessages\.generated\.json$/;
const TRANSLATED_README = /(?:^|\/)readme\.([a-z]{2}(?:-[a-z]{2})?)\.md$/i;
/** READMEs are sometimes named after a country instead of a language. */
const COUNTRIES: Readonly<Record<string, string>> = {
  cn: 'zh-cn',
  cz: 'cs',
  jp: 'ja',
  kr: 'ko',
  tw: 'zh-tw',
  ua: 'uk',
};
/** About twenty messages. */
const CHARACTERS = 2000;

/** Text in other languages than English: the TypeScript compiler's messages in 13 of them, and translated READMEs. */
export function languages(packages: readonly InstalledPackage[]): Domain {
  const texts = packages.flatMap((pkg) =>
    pkg.files.flatMap((file) => {
      const messages = pkg.name === 'typescript' ? MESSAGES.exec(file)?.[1] : undefined;
      const readme = TRANSLATED_README.exec(file)?.[1]?.toLowerCase();
      if (messages !== undefined) return [documents(pkg, file, messages, compilerMessages)];
      if (readme === undefined || readme === 'en') return [];
      return [documents(pkg, file, COUNTRIES[readme] ?? readme, proseParagraphs)];
    }),
  );
  return {
    documents: inTurns(texts),
    describe: (taken) =>
      `${taken.length} groups of TypeScript compiler messages and parts of READMEs in ${countSources(taken)} languages`,
    expects: `the package 'typescript' (5.x), which has its compiler's messages in 13 languages`,
  };
}

async function* documents(
  pkg: InstalledPackage,
  file: string,
  language: string,
  parse: (text: string) => string[],
): AsyncGenerator<Document> {
  for (const text of joinParts(parse(await readText(pkg, file)), '\n', CHARACTERS)) yield { text, source: language };
}

function compilerMessages(text: string): string[] {
  try {
    const messages = Object.values<unknown>(JSON.parse(text)).filter((message) => typeof message === 'string');
    return [...new Set(messages)];
  } catch (error) {
    throw new BtsError(
      'BAD_DATA',
      `A file of compiler messages of the installed package 'typescript' is not valid JSON. Run 'npm ci' again.`,
      { cause: error },
    );
  }
}
