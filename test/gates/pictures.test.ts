/** Pictures of gates: well-formed, nothing cut off or upon each other, to be read by everybody. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { drawTokenGates } from '../../lib/gates/figures.js';
import { renderGates } from '../../lib/gates/gate-map.js';
import { gatePage, tint } from '../../lib/gates/gate-page.js';
import type { GatedText, GatedToken } from '../../lib/gates/gated-text.js';
import { meansCsv, tokensCsv } from '../../lib/gates/tables.js';
import { COLORS, INK, lineStyle, RAMP } from '../../lib/plots/style.js';
import { textWidth } from '../../lib/plots/text-width.js';
import { channels, contrast, expectApart, expectInside, linear, readSvg } from '../support/svg.js';

const MEMBERS = ['hub', 'code & <more>', 'multilingual-european', '数学'];
const PLAN = [
  { afterLayer: 2, kind: 'hub_into_experts' },
  { afterLayer: 4, kind: 'experts_into_hub' },
] as const;

function tokens(count: number, from = 0): GatedToken[] {
  return Array.from({ length: count }, (_, i) => {
    const rest = 0.34 + (i % 2) * 0.02;
    const mean = [rest, 0.3, 0.2, 0.5 - rest];
    const stitches = PLAN.map((placement) => ({
      placement,
      mean: placement.afterLayer === 2 ? [0, 0.1, 0.2, 0.3] : mean,
    }));
    return { id: i, text: `t${i} `, ...(from + i > 0 && { gates: { members: MEMBERS, stitches } }) };
  });
}

function text(name: string, prompt: number, answer: number): GatedText {
  return { name, prompt: tokens(prompt), answer: tokens(answer, prompt), parts: [{ name, first: 0 }] };
}

const OPTIONS = { model: 'runs/<generalist> & co' };

test('a column a text, prompts above and answers below, a line a member', async () => {
  const texts = [
    text('Übersetze: "Hund" & <b>, a prompt that is long', 12, 30),
    text('b', 80, 1),
    text('数学の問題', 2, 5),
  ];
  const picture = readSvg(await drawTokenGates(texts, OPTIONS));
  expectInside(picture);
  expectApart(picture);
  const all = picture.texts.map(({ text }) => text);
  for (const name of MEMBERS) assert.ok(all.includes(name), `${name} is in the legend`);
  for (const told of [
    'Gates of runs/<generalist> & co token by token',
    '94 tokens of prompts, 36 generated',
    'Answer',
    '1 token',
  ]) {
    assert.ok(all.includes(told), told);
  }
  // Of the first token nothing is known; a single token is a dot.
  const counts = picture.lines.map(({ points }) => points);
  assert.equal(
    counts,
    [11, 79, 30, 5].flatMap((n) => MEMBERS.map(() => n)),
  );
  const columns = ['12 tokens', '30 tokens'].map((told) => picture.texts.find(({ text }) => text === told)!);
  assert.is(columns[0]!.left, columns[1]!.left);
  assert.ok(columns[0]!.bottom < columns[1]!.top);
});

test('a stitch into the experts has a line for each expert, and an unknown one is named', async () => {
  const picture = readSvg(await drawTokenGates([text('a', 6, 0)], { ...OPTIONS, afterLayer: 2 }));
  assert.is(picture.lines.length, 3);
  assert.not.ok(picture.texts.some(({ text }) => text === 'hub'));
  const error = await drawTokenGates([text('a', 6, 0)], { ...OPTIONS, afterLayer: 3 }).catch((thrown) => thrown);
  assert.match(error.message, /no stitch after layer 3: they stand after layers 2, 4/);
});

test('a text that switches has a name where each part begins', async () => {
  const parts = ['def f(x):', 'Il était une fois', 'Q: 2 + 2', 'def g(x):'].map((name, i) => ({ name, first: 7 * i }));
  const picture = readSvg(await drawTokenGates([{ ...text('all', 40, 9), parts }], OPTIONS));
  expectInside(picture);
  expectApart(picture);
  const at = [...parts.map(({ name }) => name), 'answer'].map(
    (name) => picture.texts.find(({ text }) => text === name)!.left,
  );
  assert.equal(
    at,
    [...at].sort((a, b) => a - b),
  );
  assert.is(new Set(at).size, 5);
});

test('more than four prompts begin a new line, each answer below its prompt', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const picture = readSvg(
    await drawTokenGates(
      names.map((name, i) => text(name, 10 + i, 20 + i)),
      OPTIONS,
    ),
  );
  expectInside(picture);
  expectApart(picture);
  const at = (told: string) => picture.texts.find(({ text }) => text === told)!;
  for (const i of names.keys()) {
    assert.is(at(`${10 + i} tokens`).left, at(`${20 + i} tokens`).left);
    assert.ok(at(`${10 + i} tokens`).top < at(`${20 + i} tokens`).top);
  }
  assert.is(at('10 tokens').left, at('14 tokens').left);
  assert.ok(at('20 tokens').top < at('14 tokens').top);
});

test('more tokens than there is room for are drawn as means, and it is said', async () => {
  const picture = readSvg(await drawTokenGates([text('long', 1000, 0)], OPTIONS));
  assert.ok(picture.texts.some(({ text }) => text === '1000 tokens, means of 9'));
  // The first of 112 points is a mean of the eight tokens that have gates.
  assert.equal(new Set(picture.lines.map(({ points }) => points)), new Set([112]));
});

test('a text is taken to be at least as wide as in DejaVu Sans, and not much wider', () => {
  // Advance widths of the font's files, in parts of its size.
  const plain = { n: 0.634, é: 0.615, W: 0.989, i: 0.278, '#': 0.838, Æ: 0.974, Ж: 1.077, '…': 1, '5': 0.636 };
  const bold = { n: 0.712, é: 0.678, W: 1.103, '(': 0.457, '#': 0.838, '5': 0.696 };
  for (const [widths, isBold] of [[plain, false] as const, [bold, true] as const]) {
    for (const [character, width] of Object.entries(widths)) {
      const taken = textWidth(character, 1, isBold);
      assert.ok(taken >= width && taken <= width + 0.2, `${character} ${taken}`);
    }
  }
  assert.is(textWidth('e\u0301', 1), textWidth('e', 1));
});

test('texts of any kind are named in lines that fit, in XML that is well-formed', async () => {
  const names = [
    'a\tb\r\nc\u0000\u001b[31m]]>&<',
    'مرحبا بالعالم '.repeat(9),
    '😀👩‍👩‍👧‍👦'.repeat(30),
    'Ж'.repeat(300),
    '\ud800 half',
    'MMMMMMMMMM WWWWWWWWWW '.repeat(5),
  ];
  {
    const texts = names.map((name) => text(name, 5, 2));
    const picture = readSvg(await drawTokenGates(texts, OPTIONS));
    expectInside(picture);
    expectApart(picture);
    const page = gatePage('', texts, OPTIONS);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
    assert.not.match(page, /[\u0000-\u0008\u000b-\u001f]/);
  }
  const parts = names.map((name, i) => ({ name, first: 9 * i }));
  const picture = readSvg(await drawTokenGates([{ ...text('all', 60, 9), parts }], OPTIONS));
  expectInside(picture);
  expectApart(picture);
});

test('the scale shows 0.34 beside 0.36', async () => {
  const picture = readSvg(await drawTokenGates([text('a', 20, 0)], OPTIONS));
  const ticks = picture.texts.filter(({ text }) => /^0\.\d+$/.test(text));
  const [first, second] = ticks as [(typeof ticks)[0], (typeof ticks)[0]];
  const pixels = Math.abs(first.top - second.top) / Math.abs(Number(first.text) - Number(second.text));
  assert.ok(0.02 * pixels > 8, `they are ${0.02 * pixels} pixels apart`);
});

const rest = { entropy: 0.5, saturation: { low: [0, 0, 0, 0.25], high: [0, 0, 0, 0] }, unheard: ['数学'] };
const means = ['code', 'multilingual-european', '<math>'].flatMap((domain) =>
  PLAN.map((stitch) => ({
    domain,
    ...rest,
    stitch,
    tokens: 500,
    gates: stitch.afterLayer === 2 ? [0, 0.3, 0.301, 0.9] : [0.34, 0.36, 0.1, 0.2],
  })),
);

test('a map has a number for every domain, member and layer, read on its color', async () => {
  const svg = await renderGates('Mean gates', MEMBERS, means);
  const picture = readSvg(svg);
  expectInside(picture);
  expectApart(picture);
  assert.is(picture.texts.filter(({ text }) => text === '500 tokens').length, 6);
  const numbers = picture.texts.filter(({ text }) => /^0\.\d\d$/.test(text)).map(({ text }) => text);
  for (const value of ['0.34', '0.36', '0.10', '0.20', '0.30', '0.90']) assert.ok(numbers.includes(value), value);
  assert.ok(numbers.length >= 3 * 4 + 3 * 3);
  // Rectangles and numbers of a table come in the same order.
  const cells = [...svg.matchAll(/<path d="M[^"]*Z" fill="(rgb[^"]*)"/g)].map(([, fill]) => fill!);
  const inks = picture.texts
    .filter(({ text, fill }) => /^0\.\d\d$/.test(text) && /^(white|black)$/.test(fill))
    .map(({ fill }) => fill);
  assert.is(cells.length, 21);
  assert.is(inks.length, 21);
  for (const [i, cell] of cells.entries()) assert.ok(contrast(cell, inks[i]!) >= 4.5, `${inks[i]} on ${cell}`);
});

test('colors stand out from white, and on every mixture of the ramp one of black and white does', () => {
  for (const color of [...COLORS, INK]) assert.ok(contrast(color, 'white') >= 4.5, color);
  const [from, to] = RAMP.map(channels) as [number[], number[]];
  for (let part = 0; part <= 1; part += 0.01) {
    const color = `rgb(${from.map((value, i) => Math.round(value + (to[i]! - value) * part)).join(',')})`;
    assert.ok(Math.max(contrast(color, 'white'), contrast(color, 'black')) >= 4.5, color);
  }
  for (let m = 0; m < 12; m++) {
    for (const lead of [0, 0.5, 1]) assert.ok(contrast(tint(m, lead), INK) >= 4.5, `member ${m}`);
  }
});

/** Linear RGB as seen by people who lack one kind of cone (Machado, Oliveira and Fernandes 2009). */
const SEEN = {
  by_most: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protan: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deutan: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  tritan: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
};

function lab(color: string, seen: readonly number[]): number[] {
  const rgb = channels(color).map((value) => linear(value / 255));
  const times = (matrix: readonly number[], v: readonly number[]) =>
    [0, 3, 6].map((row) => v.reduce((sum, x, i) => sum + matrix[row + i]! * x, 0));
  const clipped = times(seen, rgb).map((x) => Math.min(1, Math.max(0, x)));
  const xyz = times([0.4124, 0.3576, 0.1805, 0.2126, 0.7152, 0.0722, 0.0193, 0.1192, 0.9505], clipped);
  const [x = 0, y = 0, z = 0] = xyz.map((value, i) => {
    const t = value / [0.9505, 1, 1.089][i]!;
    return t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116;
  });
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

test('lines are told apart by everybody: by color, and beyond the colors by dashes', () => {
  for (const [kind, matrix] of Object.entries(SEEN)) {
    for (const [i, a] of COLORS.entries()) {
      for (const b of COLORS.slice(i + 1)) {
        const [from, to] = [lab(a, matrix), lab(b, matrix)];
        const distance = Math.hypot(...from.map((value, axis) => value - to[axis]!));
        assert.ok(distance >= 25, `${a} and ${b} are ${distance.toFixed(0)} apart for ${kind}`);
      }
    }
  }
  assert.is(new Set(Array.from({ length: 24 }, (_, i) => JSON.stringify(lineStyle(i)))).size, 24);
});

test('the page has every token, and nothing from elsewhere', async () => {
  const texts = [text('<script>alert(1)</script>', 5, 3)];
  const page = gatePage(await drawTokenGates(texts, OPTIONS), texts, OPTIONS);
  assert.is([...page.matchAll(/<span style="background:#[0-9a-f]{6}" title="hub 0\.3\d, code &#38; /g)].length, 7);
  assert.not.match(page, /<script|https?:\/\/(?!www\.w3\.org)/);
});

test('the page shows ends of lines and tabs, and a text from right to left as that', () => {
  const [first, ...rest] = tokens(3);
  const spaces = [first!, { ...rest[0]!, text: '\n' }, { ...rest[1]!, text: '\tx\n\n' }];
  const page = gatePage('', [{ ...text('مرحبا', 0, 0), prompt: spaces }], OPTIONS);
  assert.match(page, /title="[^"]*"><i class="end"><\/i>\n<\/span>/);
  assert.match(page, /<i class="tab"><\/i>\tx<i class="end"><\/i>\n<i class="end"><\/i>\n</);
  assert.match(page, /<p class="text" dir="auto">/);
  assert.not.match(page, /Answer/);
});

test('tables have a line for each gate', () => {
  const lines = tokensCsv([text('a "b",\nc', 2, 1)]).split('\r\n');
  assert.is(lines[0], 'text,part,position,id,token,after_layer,kind,member,gate');
  const csv = tokensCsv([text('x,"y"', 2, 1)]);
  assert.ok(csv.includes('"x,""y""",prompt,2,1,t1 ,4,experts_into_hub,multilingual-european,0.2\r\n'));
  assert.is(csv.trimEnd().split('\r\n').length, 1 + 2 * (3 + 4));
  const means_ = meansCsv(MEMBERS, means).trimEnd().split('\r\n');
  assert.is(means_.length, 1 + 3 * 7);
  assert.is(means_[3], 'code,500,2,hub_into_experts,数学,0.9,0.25,0,true,0.5');
  assert.is(means_[1], 'code,500,2,hub_into_experts,code & <more>,0.3,0,0,false,0.5');
});

test.run();
