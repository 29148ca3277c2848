/**
 * The running text of a Markdown file, one string per heading, paragraph or list item, line breaks undone. Code, HTML,
 * pictures, tables, link targets and what is not sentences (badges, lists of links) are left out; so is whatever speaks
 * of licences, since the same few texts stand in most packages.
 */
export function proseParagraphs(markdown: string): string[] {
  const paragraphs: string[] = [];
  let heading: string | undefined;
  for (const block of blocks(withoutCode(markdown))) {
    const text = plainText(block);
    if (/^#{1,6}\s/.test(block)) heading = text.replace(/^#+\s*/, '').replace(/\s*#+$/, '');
    else if (isProse(text)) {
      if (heading !== undefined && /\p{L}{3}/u.test(heading)) paragraphs.push(heading);
      heading = undefined;
      paragraphs.push(text);
    }
  }
  return paragraphs;
}

/** Drops what spans lines and is not text, before the lines are looked at. */
function withoutCode(markdown: string): string {
  return markdown
    .replace(/^---\n[\s\S]*?\n---\n/, '')
    .replace(/^([ \t]*)(`{3,}|~{3,})[^\n]*\n[\s\S]*?^[ \t]*\2[^\n]*$/gm, '')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/<(pre|table|script|style|picture|details)\b[\s\S]*?<\/\1>/gi, '');
}

/** Splits at blank lines, headings and list items, and joins the lines of each block. */
function* blocks(markdown: string): Generator<string> {
  let lines: string[] = [];
  for (const line of `${markdown}\n\n`.split('\n')) {
    const isBlank = /^\s*([=-]{3,}\s*)?$/.test(line);
    const isHeading = line.startsWith('#');
    if (lines.length > 0 && (isBlank || isHeading || /^\s*([-*+]|\d+[.)])\s/.test(line) || lines[0]!.startsWith('#'))) {
      if (!isSkipped(lines)) yield lines.join(' ').replace(/\s+/g, ' ').trim();
      lines = [];
    }
    if (!isBlank) lines.push(line);
  }
}

/** Indented code, tables, targets of links. */
function isSkipped(lines: readonly string[]): boolean {
  return (
    /^( {4}|\t)(?!\s*([-*+]|\d+[.)])\s)|^\s*\[[^\]]+\]:/.test(lines[0]!) || lines.some((line) => /^\s*\|/.test(line))
  );
}

/** Undoes inline markup; what looks like markup inside inline code is none. */
function plainText(block: string): string {
  return (
    block
      .replace(/`+([^`]*)`+/g, (_, code: string) => code.replace(/[<*_[\]\\]/g, (mark) => `&#${mark.charCodeAt(0)};`))
      // Pictures, footnotes, links, addresses, HTML.
      .replace(/!\[[^\]]*\](\([^)]*\)|\[[^\]]*\])?/g, '')
      .replace(/\[\^[^\]]*\]/g, '')
      .replace(/\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])/g, '$1')
      .replace(/\{@\w+\s+([^}|]*)(?:\|([^}]*))?\}/g, (_, target, label) => label ?? target)
      .replace(/<\/?[a-z][^>]*>|<https?:[^>]*>/gi, '')
      .replace(/\(?https?:\/\/[^\s)]*[^\s).,]\)?/g, '')
      // Emphasis.
      .replace(/(\*\*|__)(?=\S)(.*?\S)\1/g, '$2')
      .replace(/(?<![\w*])\*(?=[^\s*])([^*]*[^\s*])\*(?![\w*])/g, '$1')
      .replace(/(?<!\w)_(?=\S)([^_]*\S)_(?!\w)/g, '$1')
      // Entities.
      .replace(/&lt;/g, '<')
      .replace(/&gt;/g, '>')
      .replace(/&quot;/g, '"')
      .replace(/&(nbsp|#160);/g, ' ')
      .replace(/&#(\d{2,3});/g, (_, character) => String.fromCharCode(character))
      .replace(/&amp;/g, '&')
      // Issues and commits in change logs.
      .replace(/,? *closes(?= ?#)/g, '')
      .replace(/\(?\[?\b(?:#\d+|[0-9a-f]{7,40})\b\]?\)?|\(#\d+\)|\(\s*\)|(?<= )#\d+/g, '')
      // What is left: escapes, quote and list marks, spaces.
      .replace(/\\([*_`[\]<>#|])/g, '$1')
      .replace(/^[>\s]+/, '')
      .replace(/^([-*+] )+/, '- ')
      .replace(/\s+([.,;:)])(?=\s|$)/g, '$1')
      .replace(/\s+/g, ' ')
      .trim()
  );
}

function isProse(text: string): boolean {
  const letters = text.match(/[\p{L}\p{M}]/gu)?.length ?? 0;
  const isUnspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u.test(text);
  if (letters < 12 || letters < 0.65 * text.replaceAll(' ', '').length) return false;
  if (text.split(' ').length < 4 && !isUnspaced) return false;
  if (/[{}]|\S@\S+\.\w|=>|\(\);|;$|…$|──|\|/.test(text)) return false;
  return !/licen[cs]|copyright|\bwarrant(y|ies)\b|hereby granted/i.test(text);
}
