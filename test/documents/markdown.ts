import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import GithubSlugger from 'github-slugger';
import MarkdownIt from 'markdown-it';
import { root } from '../../native/packaging/root.js';

/** A fenced block: what stands behind its fence, as `ts` or `json tsconfig.json`, and its text. */
export interface Block {
  language: string;
  /** The file that the block is, where the fence names one. */
  file: string | undefined;
  text: string;
  line: number;
}

/** A document, as GitHub shows it. */
export interface Page {
  /** From the repository's folder. */
  path: string;
  text: string;
  blocks: readonly Block[];
  /** Indented blocks: lists of files, messages, formulas. */
  listings: readonly string[];
  /** What stands between backticks in sentences, on one line. */
  codes: readonly string[];
  links: readonly string[];
  /** What a link to the page can have behind #. */
  anchors: ReadonlySet<string>;
}

const parser = new MarkdownIt();

function read(path: string): Page {
  const text = readFileSync(join(root, path), 'utf8');
  const slugger = new GithubSlugger();
  const page = {
    path,
    text,
    blocks: [] as Block[],
    listings: [] as string[],
    codes: [] as string[],
    links: [] as string[],
    anchors: new Set<string>(),
  };
  const tokens = parser.parse(text, {});
  for (const [i, { type, info, content, map, children }] of tokens.entries()) {
    if (type === 'code_block') page.listings.push(content);
    if (type === 'fence') {
      const [language = '', file] = info.trim().split(/\s+/);
      page.blocks.push({ language, file, text: content, line: map![0] + 1 });
    }
    if (type !== 'inline') continue;
    for (const child of children!) {
      if (child.type === 'code_inline') page.codes.push(child.content.replace(/\s+/g, ' '));
      if (child.type === 'link_open') page.links.push(child.attrGet('href')!);
      if (child.type === 'image') page.links.push(child.attrGet('src')!);
    }
    const words = children!.filter((child) => child.type === 'text' || child.type === 'code_inline');
    if (tokens[i - 1]!.type === 'heading_open')
      page.anchors.add(slugger.slug(words.map((word) => word.content).join('')));
  }
  return page;
}

/** All Markdown of the repository. */
export const pages: readonly Page[] = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '*.md'],
  { cwd: root, encoding: 'utf8' },
)
  .trim()
  .split('\n')
  .map(read);

/** The pages for users: those with fenced blocks, which all are run. */
export const guides = pages.filter(({ blocks }) => blocks.length > 0);

/** The commands of a block, without comments, lines that go on joined. */
export function commandsOf(text: string): string[] {
  return text
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/(^|\s+)#\s.*$/, '').trim())
    .filter((line) => line !== '');
}
