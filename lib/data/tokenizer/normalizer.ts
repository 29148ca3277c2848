import type { Normalizer } from './components.js';
import { compilePattern, mayGoOnForEver, withinLimits } from './pattern.js';

/** The function that applies all `normalizers` in order. @throws BAD_TOKENIZER */
export function compileNormalizers(normalizers: Normalizer[]): (text: string) => string {
  const steps = normalizers.map(compile);
  return (text) => steps.reduce((result, step) => step(result), text);
}

function compile(normalizer: Normalizer): (text: string) => string {
  switch (normalizer.type) {
    case 'NFC':
      // By Node's Unicode tables: the reference's are older and leave a few pairs of the newest scripts apart.
      return (text) => text.normalize('NFC');
    case 'Prepend':
      return (text) => (text === '' ? '' : normalizer.prepend + text);
    case 'Replace': {
      const { pattern, content, at } = normalizer;
      const replaced = 'String' in pattern ? pattern.String : compilePattern(pattern, at);
      const mayGoOn = mayGoOnForEver(pattern);
      return (text) => withinLimits(text, () => text.replaceAll(replaced, () => content), mayGoOn);
    }
  }
}
