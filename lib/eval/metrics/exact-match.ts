import { pythonRegex } from '../../python/regex.js';
import { withoutPunctuation } from '../../python/text.js';

export interface ExactMatchOptions {
  ignoreCase?: boolean;
  ignorePunctuation?: boolean;
  ignoreNumbers?: boolean;
  /** Python regular expressions whose matches are removed from prediction and reference, one after the other. */
  ignore?: readonly string[];
}

/** Hugging Face evaluate's `exact_match` of one prediction: whether it equals any of the references once normalized. */
export function exactMatch(
  prediction: string,
  references: readonly string[],
  { ignoreCase, ignorePunctuation, ignoreNumbers, ignore = [] }: ExactMatchOptions = {},
): boolean {
  const regexes = ignore.map(pythonRegex);
  const normalize = (text: string) => {
    let normal = regexes.reduce((rest, regex) => rest.replace(regex, ''), text);
    if (ignoreCase) normal = normal.toLowerCase();
    if (ignorePunctuation) normal = withoutPunctuation(normal);
    if (ignoreNumbers) normal = normal.replace(/[0-9]/g, '');
    return normal;
  };
  const normal = normalize(prediction);
  return references.some((reference) => normalize(reference) === normal);
}
