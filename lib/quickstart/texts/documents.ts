/** One text of a domain and what it is from: a package, a language, a kind of problem. */
export interface Document {
  text: string;
  source: string;
}

/** What a domain's sources yield, in the order in which to take it, and how to speak of it. */
export interface Domain {
  documents: AsyncIterable<Document> | Iterable<Document>;
  /** What was taken, for people: '120 source files of 62 packages'. */
  describe(taken: readonly Document[]): string;
}

/** Longer texts are split, so that a held-out share of the documents is also about that share of the text. */
export const LONGEST_CHARACTERS = 8192;

/** Takes one item of each source in turn, so that a large source does not crowd out the others. */
export async function* inTurns<T>(sources: readonly AsyncGenerator<T>[]): AsyncGenerator<T> {
  let open = [...sources];
  while (open.length > 0) {
    const still: AsyncGenerator<T>[] = [];
    for (const source of open) {
      const { done, value } = await source.next();
      if (done) continue;
      still.push(source);
      yield value;
    }
    open = still;
  }
}

/** Joins parts (paragraphs, lines) to texts of at most `longest` characters; a part that is longer stays whole. */
export function* joinParts(
  parts: readonly string[],
  separator: string,
  longest = LONGEST_CHARACTERS,
): Generator<string> {
  let text = '';
  for (const part of parts) {
    if (text !== '' && text.length + separator.length + part.length > longest) {
      yield text;
      text = '';
    }
    text += text === '' ? part : separator + part;
  }
  if (text !== '') yield text;
}

/** How many different sources the documents have. */
export function countSources(documents: readonly Document[]): number {
  return new Set(documents.map((document) => document.source)).size;
}

/** The same for people, where the sources are packages. */
export function packageCount(documents: readonly Document[]): string {
  const count = countSources(documents);
  return `${count} package${count === 1 ? '' : 's'}`;
}
