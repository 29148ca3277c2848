import { cut } from '../../base/show.js';
import { badTokenizer } from './bad-tokenizer.js';
import type { PostProcessor } from './components.js';

/** The special tokens before and after a text. */
export interface Template {
  before: number[];
  after: number[];
}

/** All templates around one another, the first innermost. @throws BAD_TOKENIZER where one is no frame of known tokens */
export function compileTemplates(postProcessors: PostProcessor[], vocabularySize: number): Template {
  const template: Template = { before: [], after: [] };
  for (const processor of postProcessors) {
    if (processor.type !== 'TemplateProcessing') continue;
    const { single, special_tokens: specials, at } = processor;
    const place = single.findIndex((piece) => 'Sequence' in piece);
    const tokens = single.map((piece): number[] => {
      if ('Sequence' in piece) return [];
      const { id } = piece.SpecialToken;
      const ids = Object.hasOwn(specials, id) ? specials[id]!.ids : [Number.NaN];
      if (ids.every((token) => Number.isInteger(token) && token >= 0 && token < vocabularySize)) return ids;
      throw badTokenizer(`${at}/single names the special token '${cut(id)}', of which the vocabulary has no id.`);
    });
    const frames = single.filter((piece) => 'Sequence' in piece).length;
    if (frames !== 1) throw badTokenizer(`${at}/single: expected the text once, found it ${frames} times.`);
    template.before.unshift(...tokens.slice(0, place).flat());
    template.after.push(...tokens.slice(place).flat());
  }
  return template;
}
