import { renderChat } from '../../../lib/data/tokenizer/chat-template.js';
import { Bytes } from '../bytes.js';
import { expectTyped, type Target } from '../target.js';

const MESSAGES = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'What is 7 + 5? <é> "q"' },
  { role: 'assistant', content: null, tool_calls: [{ name: 'add', arguments: { a: 7, b: 5.5 } }] },
];
const OPTIONS = { addGenerationPrompt: true, tools: [{ type: 'function', function: { name: 'add' } }] };

/** What templates are made of. */
const WORDS = `
{{ ¦ }}¦{% ¦ %}¦{%- ¦ -%}¦{# ¦ #}¦{% raw %}¦{% endraw %}¦x¦ ¦\\n¦"a"¦'é'¦for x in ¦for m in messages¦endfor¦
recursive¦if ¦elif ¦else¦endif¦set x = ¦set x¦endset¦macro f(x, y=1)¦endmacro¦call f(1)¦endcall¦caller()¦f(x)¦
filter upper¦endfilter¦break¦continue¦generation¦endgeneration¦block b¦endblock¦with y = x¦endwith¦loop.index¦
loop(x)¦loop.cycle(1, 2)¦messages¦m¦m['content']¦m.role¦tools¦documents¦add_generation_prompt¦namespace(a=1)¦
ns.a¦y¦range(9)¦range(10 ** 9)¦raise_exception("no")¦strftime_now("%Y %d")¦dict(a=1)¦cycler(1, 2)¦joiner()¦(¦)¦[¦
]¦{¦}¦,¦:¦.¦|¦~¦+¦-¦*¦/¦//¦%¦**¦==¦!=¦<¦>=¦=¦ and ¦ or ¦ not ¦ in ¦ is ¦ is not ¦defined¦none¦true¦false¦string¦
mapping¦iterable¦0¦1¦-1¦2¦7.5¦1e308¦99999999¦10 ** 100¦[1, 2]¦{"a": 1}¦[::2]¦[-1]¦"%s" % x¦"{}".format(x)¦tojson¦
tojson(indent=4)¦join(",")¦length¦upper¦trim¦replace("a", "bb")¦map(attribute="role")¦list¦
selectattr("role", "equalto", "user")¦default(1)¦first¦last¦reverse¦sort¦unique¦batch(2)¦slice(2)¦round(2)¦int¦
float¦string¦safe¦escape¦indent(4)¦center(80)¦wordwrap(3)¦truncate(3)¦groupby("role")¦items()¦keys()¦split()¦
strip()¦startswith("a")¦append(x)¦update({1: 2})¦get("a")¦.__class__¦.constructor
`
  .slice(1, -1)
  .split(/¦\n?/)
  .map((word) => word.replaceAll('\\n', '\n'));

const SEEDS = [
  "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}\n{% endfor %}{% if add_generation_prompt %}<|a|>{% endif %}",
  '{%- set ns = namespace(a=0) -%}{%- for m in messages if m.content -%}{%- set ns.a = ns.a + loop.index -%}{%- endfor -%}{{ ns.a }}',
  "{% macro f(x, y=1) %}{{ x ~ y }}{{ caller() }}{% endmacro %}{% call f('a') %}{{ tools | tojson(indent=2) }}{% endcall %}",
  '{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% else %}none{% endfor %}',
  "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') | upper }}",
  "{{ range(3) | batch(2) | list }}{{ 'abc'[::-1] }}{{ 2 ** 70 // 3 % 7 }}{{ '%05.2f' % 3.14159 }}{{ {'a': 1}.items() | list }}",
  '{% raw %}{{ x }}{% endraw %}{# note #}{% filter upper %}abc{% endfilter %}{% if 1 < 2 <= 2 and not none is defined %}y{% endif %}',
];

/** The template itself, or words of the language. */
function source(bytes: Bytes): string {
  if (bytes.below(2) === 0) return Buffer.from(bytes.take()).toString('utf8');
  let text = '';
  while (bytes.left > 0) text += bytes.pick(WORDS);
  return text;
}

export const target: Target = {
  words: WORDS,
  seeds: () => [
    ...SEEDS.map((text) => Buffer.from(`\0${text}`)),
    Buffer.from(WORDS.map((_, word) => word)).fill(1, 0, 1),
  ],
  async run(data) {
    const templates = new Map([['default', source(new Bytes(data))]]);
    await expectTyped(['BAD_TOKENIZER', 'BAD_OPTION'], () =>
      renderChat(templates, { bos_token: '<s>' }, MESSAGES, OPTIONS),
    );
  },
};
