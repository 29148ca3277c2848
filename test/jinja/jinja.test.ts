import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { regexReplace } from '../../lib/eval/own/regex-replace.js';
import { Environment } from '../../lib/jinja/environment.js';
import { TemplateError, UndefinedError } from '../../lib/jinja/errors.js';
import { Template } from '../../lib/jinja/template.js';
import { jsonLoads, toJson } from '../../lib/python/json.js';
import { repr } from '../../lib/python/repr.js';
import { Callable, type Dict, type Value } from '../../lib/python/values.js';
import { CASES, DOCUMENT, SPACES } from '../support/jinja-cases.js';

const evaluation = new Environment({
  isStrict: true,
  keepTrailingNewline: true,
  filters: { regex_replace: regexReplace },
});
const chat = new Environment({ trimBlocks: true, lstripBlocks: true });
const DOC = new Map((jsonLoads(DOCUMENT) as Dict).entries() as [string, Value][]);

const render = (template: string, environment = evaluation) => new Template(template, environment).render(DOC);

function failure(template: string, environment = evaluation): Error {
  try {
    render(template, environment);
  } catch (error) {
    assert.instance(error, TemplateError, `${template}: ${error}`);
    return error as Error;
  }
  throw new Error(`'${template}' does not fail`);
}

for (const [group, cases] of Object.entries(CASES)) {
  test(`${group}, as in Jinja2`, () => {
    for (const [template, text] of cases) assert.is(render(template), text, template);
  });
}

test('white space stays or goes as in Jinja2, with and without its options', () => {
  for (const [template, kept, trimmed] of SPACES) {
    assert.is(render(template), kept, JSON.stringify(template));
    assert.is(render(template, chat), trimmed, JSON.stringify(template));
  }
});

test('a template leaves the values that it is given as they are', () => {
  const template =
    '{% set _ = nums.append(1) %}{% set _ = choices.update(x=1) %}{{ nums|length }} {{ choices|length }}';
  assert.equal([render(template), render(template)], ['6 3', '6 3']);
});

test('what is undefined fails where it is looked at, strictly, and names itself', () => {
  for (const template of [
    '{{zzz}}',
    '{{zzz.x}}',
    '{{zzz|upper}}',
    '{{zzz + 1}}',
    '{{zzz == 1}}',
    '{{not zzz}}',
    '{{zzz ~ "x"}}',
    '{{[zzz]}}',
    '{{[zzz]|join}}',
    '{{zzz()}}',
    '{{nums.index(zzz)}}',
    '{{text.replace(zzz, "")}}',
    '{% if zzz %}{% endif %}',
    '{% for x in zzz %}{% endfor %}',
    '{% for x in nums %}{% set zzz = x %}{% endfor %}{{zzz}}',
    '{{zzz is string or zzz is upper}}',
  ]) {
    const error = failure(template);
    assert.instance(error, UndefinedError, template);
    assert.is((error as UndefinedError).variable, 'zzz', template);
  }
  assert.match(failure('{{choices.zz}}').message, /'dict object' has no attribute 'zz'/);
  assert.match(failure('{{nums[99]}}').message, /'list object' has no element 99/);
  assert.match(failure('{{loop.index}}').message, /'loop' is undefined/);
  assert.is(render('{{zzz}}|{{zzz|upper}}|{{not zzz}}|{% for x in zzz %}{% endfor %}{{zzz|length}}', chat), '||True|0');
  assert.match(failure('{{zzz.x}}', chat).message, /'zzz' is undefined/);
});

test('what Python would raise fails', () => {
  for (const [template, message] of [
    ["{{ choices.label.index('Z') }}", /ValueError: 'Z' is not in list/],
    ["{{ 'a' + 1 }}", /TypeError: can only concatenate str \(not "int"\) to str/],
    ["{{ 1 + 'a' }}", /TypeError: unsupported operand type\(s\) for \+: 'int' and 'str'/],
    ["{{ 1 < 'a' }}", /TypeError: '<' not supported/],
    ['{{ 1 / 0 }}', /ZeroDivisionError/],
    ["{{ ','.join([1]) }}", /TypeError: sequence item 0: expected str instance, int found/],
    ["{{ 'a'.split('') }}", /ValueError: empty separator/],
    ['{{ {[1]: 2} }}', /TypeError: unhashable type: 'list'/],
    ["{{ '{}'.format() }}", /IndexError/],
    ["{{ '%s %s' % 'a' }}", /TypeError: not enough arguments/],
    ['{{ nothing.strip() }}', /'NoneType object' has no attribute 'strip'/],
    ['{{ question.strip }}', /has no text of its own/],
    ['{{ nums|unheard_of }}', /no filter 'unheard_of'/],
    ['{{ nums is unheard_of }}', /no test 'unheard_of'/],
    ['{% for a, b in [[1, 2, 3]] %}{% endfor %}', /ValueError/],
    ['{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}', /TypeError/],
    ["{{ ''.__class__ }}", /has no attribute '__class__'/],
    ['{{ dict.constructor }}', /has no attribute 'constructor'/],
  ] as const) {
    assert.match(failure(template).message, message, template);
  }
});

test('what is malformed is named with its line', () => {
  const malformed = [
    '{{',
    '{{ 1 + }}',
    '{{ x y }}',
    '{{ "abc }}',
    '{{ (1 }}',
    '{{ f(a=1, 2) }}',
    '{% if x %}',
    '{% for x %}',
  ];
  malformed.push('{% endfor %}', '{% unknown %}', '{% set 1 = 2 %}', '{# x', '{% raw %}x', '{{ x is }}', '{{ [1 2] }}');
  malformed.push(
    '{% break %}',
    '{% include "x" %}',
    '{% extends "x" %}',
    "{{ '\\x4' }}",
    '{{ x is defined is string }}',
  );
  for (const template of malformed) assert.match(failure(`a\n${template}`).message, /^line 2: /, template);
});

test('every template ends', () => {
  const doubled = '{% set ns = namespace(v=[1]) %}{% for i in range(60) %}{% set ns.v = [ns.v, ns.v] %}{% endfor %}';
  for (const template of [
    '{% for i in range(10**12) %}x{% endfor %}',
    '{{ range(10**9)|list }}',
    '{{ range(10**9)|sum }}',
    "{{ 'x' * 10**9 }}",
    '{{ [0] * 10**9 }}',
    '{{ 2 ** (10**9) }}',
    '{{ (2**100000)|string }}',
    "{{ 'x'.center(10**9) }}",
    "{{ '%1000000000d' % 5 }}",
    "{{ '{:1000000000}'.format(5) }}",
    "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    `${doubled}{{ ns.v }}`,
    '{% set l = [] %}{% set _ = l.append(l) %}{{ l }}',
    '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
    '{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}',
    `{{ ${'('.repeat(50000)}1${')'.repeat(50000)} }}`,
    `{{ 1${'+1'.repeat(50000)} }}`,
    `{{ ${'not '.repeat(50000)}1 }}`,
    `${'{% if 1 %}'.repeat(5000)}${'{% endif %}'.repeat(5000)}`,
    "{{ ('a' * 40 ~ 'b')|regex_replace('(a+)+$', '') }}",
  ]) {
    failure(template);
  }
});

test('an environment adds filters and names, and may leave the strictness', () => {
  const environment = new Environment({
    filters: { twice: (_, value) => `${value}${value}` },
    globals: { shout: new Callable('shout', ([text]) => `${text}!`) },
  });
  assert.is(render("{{ shout('a')|twice }}{{ zzz }}\n", environment), 'a!a!');
});

test('JSON is read and written as by Python', () => {
  const text = '{"b": 1, "10": 1.0, "9": [9007199254740993, 1e3, -0.0, true, null], "b": "\\ud83d\\ude00\\n"}';
  assert.is(repr(jsonLoads(text)), "{'b': '😀\\n', '10': 1.0, '9': [9007199254740993, 1000.0, -0.0, True, None]}");
  assert.is(repr(jsonLoads('[NaN, -Infinity]')), '[nan, -inf]');
  for (const malformed of ['', '{', '[1,]', '{"a"}', '01', '1.', "'a'", '"\n"', '[1] 2', '{1: 2}', 'nul']) {
    assert.throws(
      () => jsonLoads(malformed),
      (error: unknown) => error instanceof SyntaxError,
      malformed,
    );
  }
  assert.throws(() => jsonLoads('['.repeat(100000)), /RecursionError/);
  assert.is(toJson(jsonLoads('{"é": [1.0, 1], "a": {}}')), '{"\\u00e9": [1.0, 1], "a": {}}');
  assert.is(toJson(jsonLoads('{"é": 1, "a": 2}'), { ensureAscii: false, sortKeys: true }), '{"a": 2, "é": 1}');
});

test.run();
