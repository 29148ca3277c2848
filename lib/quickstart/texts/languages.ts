import { BtsError } from '../../base/errors.js';
import type { Choices } from './choices.js';
import { countSources, type Document, type Domain } from './documents.js';

const LANGUAGES = ['cs', 'de', 'es', 'fi', 'fr', 'hu', 'id', 'it', 'ja', 'ko', 'nl', 'pl', 'pt', 'ru', 'sv', 'tr'];
const REGIONS =
  `AR AT AU BE BR CA CH CL CN CO CZ DE DK EG ES FI FR GB GR HU ID IE IN IS IT JP KE KR MA MX NG NL NO NZ PE PH PL PT
  RO RU SE TH TR TZ UA US VN ZA`.split(/\s+/);
const SPOKEN =
  `ar bn cs da de el en es fa fi fr he hi hu id is it ja ko nl no pl pt ro ru sv sw ta th tr uk ur vi zh`.split(/\s+/);
const CURRENCIES = `AUD BRL CAD CHF CNY CZK DKK EUR GBP HUF IDR INR JPY KRW MXN NOK PLN RUB SEK TRY USD ZAR`.split(
  /\s+/,
);
const UNITS =
  `celsius centimeter day degree gram hectare hour kilobyte kilogram kilometer kilometer-per-hour liter megabyte
  meter mile millimeter minute month percent second week year`.split(/\s+/);
const TIMES = ['second', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year'] as const;
const LINES = 20;
const DAY_MS = 86_400_000;

/**
 * Text in other languages than English: generated phrases about days, amounts, measures and places, worded by the language
 * data that Node.js has; without end.
 *
 * @throws BtsError `BAD_DATA` where Node.js was built without other languages.
 */
export function languages(random: Choices): Domain {
  const found = Intl.DateTimeFormat.supportedLocalesOf(LANGUAGES);
  if (found.length < 2) throw new BtsError('BAD_DATA', 'This Node.js was built with English alone: take another one.');
  return {
    documents: documents(found, random),
    describe: (taken) =>
      `${taken.length} groups of generated phrases about days, amounts and places in ${countSources(taken)} languages`,
  };
}

function* documents(found: readonly string[], random: Choices): Generator<Document> {
  const phrases = new Map(found.map((language) => [language, phrasesOf(language, random)]));
  while (true) {
    const source = random.pick(found);
    const lines = Array.from({ length: LINES }, () => {
      const [first, second] = random.pickTwo(phrases.get(source)!);
      return random.coin() ? `${first()}: ${second()}.` : `${first()}.`;
    });
    yield { text: lines.join('\n'), source };
  }
}

/** Phrases of a language, each another one whenever it is called. */
function phrasesOf(language: string, random: Choices): (() => string)[] {
  const names = (type: Intl.DisplayNamesType, codes: readonly string[]) => {
    const display = new Intl.DisplayNames(language, { type });
    return codes.map((code) => display.of(code) ?? code);
  };
  const [regions, spoken] = [names('region', REGIONS), names('language', SPOKEN)];
  const list = (type: Intl.ListFormatType, items: readonly string[]) => {
    const format = new Intl.ListFormat(language, { type });
    return () => format.format(random.shuffle(items).slice(0, random.integer(2, 4)));
  };
  const numbers = (options: Intl.NumberFormatOptions) => new Intl.NumberFormat(language, options);
  const money = CURRENCIES.map((currency) => numbers({ style: 'currency', currency, currencyDisplay: 'name' }));
  const measures = UNITS.map((unit) => numbers({ style: 'unit', unit, unitDisplay: 'long' }));
  const rounded = numbers({ notation: 'compact', compactDisplay: 'long' });
  const day = new Intl.DateTimeFormat(language, { dateStyle: 'full', timeZone: 'UTC' });
  const moment = new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' });
  const relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  const date = () => random.integer(0, 20_000) * DAY_MS + random.integer(0, 95) * (DAY_MS / 96);
  return [
    () => day.format(date()),
    () => moment.format(date()),
    () => relative.format(random.integer(-12, 12), random.pick(TIMES)),
    () => random.pick(money).format(random.integer(1, 400) / 4),
    () => random.pick(measures).format(random.integer(1, 99)),
    () => rounded.format(random.integer(1, 999) * 10 ** random.integer(3, 7)),
    list('conjunction', regions),
    list('disjunction', spoken),
  ];
}
