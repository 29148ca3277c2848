import { setImmediate } from 'node:timers/promises';
import type { Choices } from './choices.js';
import { type Document, type Domain, inTurns, joinParts, packageCount } from './documents.js';
import { proseParagraphs } from './markdown.js';
import { fileBytes, type InstalledPackage, readText } from './packages.js';

const LARGEST_FILE_BYTES = 4 << 20;
const FEWEST_CHARACTERS = 300;

/**
 * English prose: READMEs, change logs and other Markdown of the packages, and the documentation comments of
 * their type declarations (those of Node.js are its manual).
 */
export function prose(packages: readonly InstalledPackage[], random: Choices): Domain {
  const seen = new Set<string>();
  return {
    documents: inTurns(packages.map((pkg) => documentation(pkg, seen, random))),
    describe: (taken) =>
      `${taken.length} parts of the READMEs, change logs and API documentation of ${packageCount(taken)}`,
  };
}

async function* documentation(pkg: InstalledPackage, seen: Set<string>, random: Choices): AsyncGenerator<Document> {
  const files = pkg.files.filter((file) => isEnglishMarkdown(file) || isTypeDeclaration(file));
  for (const file of random.shuffle(files)) {
    if ((await fileBytes(pkg, file)) > LARGEST_FILE_BYTES) continue;
    const text = await readText(pkg, file);
    const paragraphs: string[] = [];
    for (const [place, markdown] of (isTypeDeclaration(file) ? docComments(text) : [text]).entries()) {
      if (place % 200 === 199) await setImmediate(); // the DOM's declarations alone have 13,000 comments
      for (const paragraph of proseParagraphs(markdown)) {
        if (!seen.has(paragraph) && isEnglish(paragraph)) paragraphs.push(paragraph);
        seen.add(paragraph);
      }
    }
    for (const part of joinParts(paragraphs, '\n\n')) {
      if (part.length >= FEWEST_CHARACTERS) yield { text: part, source: pkg.name };
    }
  }
}

/** The descriptions in `/** … *\/` comments, without the tags that follow them. */
function docComments(source: string): string[] {
  const comments = source.match(/\/\*\*[\s\S]*?\*\//g) ?? [];
  return comments.map((comment) =>
    comment
      .slice(3, -2)
      .replace(/^[ \t]*\* ?/gm, '')
      .replace(/^\s*@[a-z][\s\S]*/im, ''),
  );
}

function isEnglishMarkdown(file: string): boolean {
  const base = file.slice(file.lastIndexOf('/') + 1);
  return (
    /\.(md|markdown)$/i.test(base) && !/licen[cs]e|notice/i.test(base) && !/\.[a-z]{2}(-[a-z]{2})?\.md$/i.test(base)
  );
}

function isTypeDeclaration(file: string): boolean {
  return /\.d\.[cm]?ts$/.test(file);
}

function isEnglish(paragraph: string): boolean {
  const foreign = paragraph.match(/[^\p{ASCII}’‘“”–—…]/gu)?.length ?? 0;
  return foreign <= 0.02 * paragraph.length;
}
