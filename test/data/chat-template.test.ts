import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError, type ErrorCode } from '../../lib/base/errors.js';
import { type ChatMessage, type ChatOptions, renderChat } from '../../lib/data/tokenizer/chat-template.js';
import { formatTime } from '../../lib/data/tokenizer/format-time.js';
import { Tokenizer } from '../../lib/data/tokenizer.js';
import { fails } from './data-fixtures.js';
import { byteLevel, writeTokenizer } from './tokenizer-fixtures.js';

// What is expected of templates was printed by transformers 5.18 with Jinja2 3.1.

const test = suite('chat templates');
let folder: string;
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chat-template-'));
});
test.after(() => rm(folder, { recursive: true }));

const LLAMA2 =
  "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}" +
  '{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}' +
  "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}" +
  "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}" +
  "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}" +
  "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";

/** Statements on lines of their own, which leave nothing behind. */
const ZEPHYR = `{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
  {% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
`;

const user = (content: string): ChatMessage => ({ role: 'user', content });
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content });
const system = (content: string): ChatMessage => ({ role: 'system', content });
const specials = { bos_token: '<s>', eos_token: '</s>' };

const render = (template: string, messages: readonly ChatMessage[] = [user('a')], options: ChatOptions = {}) =>
  renderChat(new Map([['default', template]]), specials, messages, options);

test('a conversation becomes the text that the template makes of it', () => {
  const conversation = [system('Be brief.'), user(' Hi '), assistant('Hello\nthere'), user('1 < 2?')];
  assert.is(
    render(LLAMA2, conversation),
    '<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi [/INST] Hello\nthere </s><s>[INST] 1 < 2? [/INST]',
  );
  assert.is(
    render(ZEPHYR, [user('Hi'), assistant('Yes'), user('So')]),
    '<|user|>\nHi</s>\n<|assistant|>\nYes</s>\n<|user|>\nSo</s>\n',
  );
  assert.is(render(ZEPHYR, [user('Hi')], { addGenerationPrompt: true }), '<|user|>\nHi</s>\n<|assistant|>\n');
});

test('templates know what transformers gives them', () => {
  const tool = {
    type: 'function',
    function: { name: 'f', description: '<é> "q"', parameters: { n: 1.5, ok: true, no: null } },
  };
  const json =
    '{"type": "function", "function": {"name": "f", "description": "<é> \\"q\\"", "parameters": {"n": 1.5, "ok": true, "no": null}}}';
  const cases: [template: string, expected: string, options?: ChatOptions][] = [
    ['{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token is defined }}', /^<s>\|<\/s>\|\|[Ff]alse$/.source],
    ['{{ tools|tojson }}', `[${json}]`, { tools: [tool] }],
    ['{% if tools is defined and tools is none %}none{% endif %}', 'none'],
    ['{% if documents is none %}none{% endif %}', 'none'],
    ['{% for d in documents %}{{ d.title }};{% endfor %}', 'x;y;', { documents: [{ title: 'x' }, { title: 'y' }] }],
    [
      '{% if enable_thinking is defined and not enable_thinking %}no{% endif %}',
      'no',
      { variables: { enable_thinking: false } },
    ],
    ['{{ bos_token }}', '[B]', { variables: { bos_token: '[B]' } }],
    ['{{ messages|tojson(indent=2) }}', '[\n  {\n    "role": "user",\n    "content": "a"\n  }\n]'],
    ['{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}', '02'],
    ['{%- set ns = namespace(n=0) -%}\n{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}\n{{ ns.n }}', '6'],
    ['{% generation %}{{ messages[-1].content }}{% endgeneration %}', 'a'],
    ['{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(1) }}{# a note #}', '[1]'],
  ];
  for (const [template, expected, options] of cases) {
    const text = render(template, undefined, options);
    if (template.includes('unk_token')) assert.match(text, new RegExp(expected));
    else assert.is(text, expected, template);
  }
});

test('the time is written as C does in English', () => {
  const date = new Date(2024, 6, 4, 15, 7, 9);
  assert.is(formatTime(date, '%d %b %Y'), '04 Jul 2024');
  assert.is(formatTime(date, '%A, %B %-d, %Y at %I:%M %p'), 'Thursday, July 4, 2024 at 03:07 PM');
  assert.is(
    formatTime(date, '%Y-%m-%d %H:%M:%S %y %a %e %F %T %%'),
    '2024-07-04 15:07:09 24 Thu  4 2024-07-04 15:07:09 %',
  );
  assert.throws(() => formatTime(date, '%Q'), /'%Q' is not known/);
  assert.is(render("{{ strftime_now('%Y') }}"), String(new Date().getFullYear()));
});

function refuses(run: () => unknown, code: ErrorCode, message: RegExp): void {
  assert.throws(
    run,
    (error: unknown) => error instanceof BtsError && error.code === code && message.test(error.message),
  );
}

test('a template that refuses the conversation says why', () => {
  const message = /refuses the conversation: Conversation roles must alternate/;
  refuses(() => render(LLAMA2, [user('a'), user('b')]), 'BAD_OPTION', message);
  refuses(() => render(LLAMA2, []), 'BAD_OPTION', /one message at least/);
});

test('a template that is malformed, fails or does not end is an error', () => {
  refuses(() => render('{% for x in %}'), 'BAD_TOKENIZER', /the chat template is malformed/);
  refuses(() => render('{{ none + 1 }}'), 'BAD_TOKENIZER', /the chat template fails/);
  refuses(
    () => render('{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}'),
    'BAD_TOKENIZER',
    /the chat template fails/,
  );
  refuses(() => render('{% for i in range(1000000000) %}x{% endfor %}'), 'BAD_TOKENIZER', /the chat template/);
  const loops = '{% for a in range(90000) %}{% for b in range(90000) %}{% set c = a %}{% endfor %}{% endfor %}';
  refuses(() => render(loops), 'BAD_TOKENIZER', /the chat template/);
});

test('of several templates one is taken by name, or for tools', () => {
  const several = new Map([
    ['default', 'plain'],
    ['tool_use', 'tools'],
    ['rag', 'documents'],
  ]);
  const of = (options?: ChatOptions, templates = several) => renderChat(templates, {}, [user('a')], options);
  assert.is(of(), 'plain');
  assert.is(of({ tools: [] }), 'tools');
  assert.is(of({ template: 'rag' }), 'documents');
  assert.is(of({ template: '{{ messages[0].content }}' }), 'a');
  refuses(() => of({ template: 'rags' }), 'BAD_OPTION', /no chat template 'rags', but default, tool_use, rag/);
  refuses(() => of({}, new Map([['rag', 'x']])), 'BAD_TOKENIZER', /of the chat templates rag none is the default/);
  refuses(() => of({}, new Map()), 'BAD_TOKENIZER', /has no chat template/);
});

const added = [
  { content: '<s>', special: true },
  { content: '</s>', special: true },
];
const load = async (settings: object) =>
  Tokenizer.load(
    await writeTokenizer(folder, byteLevel({ added }), {
      tokenizer_config: { tokenizer_class: 'LlamaTokenizer', ...specials, add_bos_token: true, ...settings },
    }),
  );

test('a tokenizer takes its template from tokenizer_config.json, or from a file of its own', async () => {
  const text = async (settings: object, options?: ChatOptions) =>
    (await load(settings)).applyChatTemplate([user('ab')], options);
  assert.is(await text({ chat_template: '{{ bos_token }}{{ messages[0].content }}' }), '<s>ab');
  const several = [
    { name: 'default', template: 'd' },
    { name: 'tool_use', template: 't' },
  ];
  assert.is(await text({ chat_template: several }), 'd');
  assert.is(await text({ chat_template: several }, { tools: [{}] }), 't');
  await fails(() => text({}), 'BAD_TOKENIZER', /has no chat template/);
  await fails(() => text({ chat_template: null }), 'BAD_TOKENIZER', /has no chat template/);
  await fails(() => text({ chat_template: 7 }), 'BAD_TOKENIZER', /chat_template: expected a template or several/);

  const path = await writeTokenizer(folder, byteLevel({ added }), { tokenizer_config: { chat_template: 'old' } });
  await writeFile(join(path, 'chat_template.jinja'), '{{ messages|length }} new\n');
  assert.is((await Tokenizer.load(path)).applyChatTemplate([user('a')]), '1 new');
});

test('a template has at most a mebibyte, and a second to be read and rendered', async () => {
  const large = 'x'.repeat(2 ** 20 + 1);
  await fails(() => load({ chat_template: large }), 'BAD_TOKENIZER', /template "default" has 1048577 bytes.*at most/);
  await fails(() => load({ chat_template: { a: 'x', b: large } }), 'BAD_TOKENIZER', /template "b" has 1048577 bytes/);
  const path = await writeTokenizer(folder, byteLevel({ added }), {});
  await writeFile(join(path, 'chat_template.jinja'), large);
  await fails(() => Tokenizer.load(path), 'BAD_TOKENIZER', /chat_template.jinja' has 1048577 bytes.*at most 1048576/);

  // Every tag looks at all of the blanks before it.
  const tokenizer = await load({ chat_template: `${' '.repeat(2 ** 19)}x{%- set a = 1 %}` });
  await fails(() => tokenizer.applyChatTemplate([user('a')]), 'BAD_TOKENIZER', /did not end within 1 s/);
});

test('the tokens of a conversation begin once, as its template says', async () => {
  const tokenizer = await load({ chat_template: '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}' });
  const spelled = (ids: number[]) => ids.map((id) => tokenizer.idToToken(id)).join(' ');
  assert.is(spelled(tokenizer.encode('ab')), '<s> ab');
  assert.is(spelled(tokenizer.encodeChat([user('ab')])), '<s> ab </s>');
  const bare = await load({ chat_template: '{{ messages[0].content }}' });
  assert.is(spelled(bare.encodeChat([user('ab')])), 'ab');
});

test('the hash of a tokenizer does not depend on its chat template', async () => {
  assert.is((await load({ chat_template: 'a' })).hash, (await load({})).hash);
});

test.run();
