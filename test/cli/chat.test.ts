/** `bts chat`: through a pipe as a process, and what it is made of with a terminal that is typed into here. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { BtsError } from '../../lib/base/errors.js';
import { replaceFolder } from '../../lib/base/folder.js';
import { hash32 } from '../../lib/base/random.js';
import { runCommand } from '../../lib/cli/chat/commands.js';
import { Conversation } from '../../lib/cli/chat/conversation.js';
import { HistoryFile } from '../../lib/cli/chat/history-file.js';
import { readMessages, saveMessages } from '../../lib/cli/chat/saved.js';
import { Session } from '../../lib/cli/chat/session.js';
import { TerminalLines } from '../../lib/cli/chat/terminal-lines.js';
import { Tint } from '../../lib/cli/chat/tint.js';
import type { ChatMessage } from '../../lib/data/tokenizer/chat-template.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import type { Prompt } from '../../lib/model/decoding/generate.js';
import type { GenerateOptions } from '../../lib/model/decoding/options.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { TokenGates } from '../../lib/model/stitches/gate-log.js';
import { COLORS } from '../../lib/plots/style.js';
import { collect, fails } from '../data/data-fixtures.js';
import { writeChatTemplate } from '../serving/serving-fixtures.js';
import { callCli, runCli, startCli, until } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, randomize, writeModel } from '../support/models.js';
import { withUserCache } from '../support/user-cache.js';

const chats = suite('bts chat');
const device = openCpu();
const TEMPLATE =
  "{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
let cwd: string;
let dense: LanguageModel;
let generalist: StitchedModel;
let ensemble: LanguageModel;

chats.before(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'bts-chat-'));
  const config = { ...CONFIGS.llama, maxPositions: 200 };
  const write = (name: string, seed: number) => writeModel(device, join(cwd, name), { seed, config });
  const [hub, code, math] = [await write('hub', 1), await write('code', 2), await write('math', 3)];
  await write('plain', 4);
  await writeChatTemplate(hub, TEMPLATE);
  dense = await DenseModel.load(device, hub);
  const members = { hub, experts: { code, math } };
  using created = await StitchedModel.create(device, members);
  randomize(created, 9);
  await replaceFolder(join(cwd, 'generalist'), (path) => created.write(path));
  generalist = await StitchedModel.load(device, join(cwd, 'generalist'));
  ensemble = await EnsembleModel.create(device, members);
  await replaceFolder(join(cwd, 'ensemble'), (path) => ensemble.write(path));
});
chats.after(async () => {
  device.dispose();
  await rm(cwd, { recursive: true, force: true });
});

const user = (content: string): ChatMessage => ({ role: 'user', content });
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content });

async function textOf(model: LanguageModel, prompt: Prompt, options: GenerateOptions): Promise<string> {
  return (await collect(model.generate(prompt, options))).map(({ text }) => text).join('');
}

/** What the library answers turn by turn to messages, with the experts that are on. */
async function answers(model: LanguageModel, said: readonly string[], options: GenerateOptions): Promise<string[]> {
  const messages: ChatMessage[] = [];
  const texts: string[] = [];
  for (const [turn, content] of said.entries()) {
    messages.push(user(content));
    const seed = turn === 0 ? options.seed! : hash32(options.seed!, turn);
    texts.push(await textOf(model, messages, { ...options, seed }));
    messages.push(assistant(texts.at(-1)!));
  }
  return texts;
}

const SAMPLING = { maxTokens: 9, temperature: 0.8, seed: 5 };
const ARGUMENTS = ['--max-tokens', '9', '--temperature', '.8', '--seed', '5'];

for (const [name, model] of [
  ['generalist', () => generalist],
  ['ensemble', () => ensemble],
] as const) {
  chats(`${name} answers each line of a pipe with what was said before in mind`, async () => {
    const said = ['Hi', 'And then?', '/usr/bin'];
    const input = `Hi\n\n  \nAnd then?\r\n//usr/bin`;
    const expected = await answers(model(), said, SAMPLING);
    const { code, stdout, stderr } = await runCli(['chat', name, ...ARGUMENTS, '--json'], { cwd, input });
    assert.is(code, 0, stderr);
    assert.is(stderr, '');
    const records = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(
      records.map(({ text }) => text),
      expected,
    );
    for (const { tokens, finish, dropped, gates } of records) {
      assert.is(tokens.length, 9);
      assert.equal([finish, dropped], ['length', 0]);
      assert.equal(gates?.members, name === 'generalist' ? ['hub', 'code', 'math'] : undefined);
      for (const { placement, mean } of gates?.stitches ?? []) {
        const isShare = placement.kind === 'experts_into_hub';
        const sum = mean.reduce((all: number, gate: number) => all + gate, 0);
        if (isShare) assert.ok(Math.abs(sum - 1) < 1e-5, `${mean}`);
        else assert.is(mean[0], null);
      }
    }
  });
}

chats('experts are switched off and on, gates are told, a conversation is saved and gone on with', async () => {
  const file = join(cwd, 'talk.json');
  const input = ['/without math', 'Hi', '/gates', '/with', '/save talk.json', '/help', '/quit', 'never said'].join(
    '\n',
  );
  const { code, stdout, stderr } = await runCli(['chat', 'generalist', ...ARGUMENTS], { cwd, input });
  assert.is(code, 0, stderr);
  const first = await textOf(generalist.without(['math']), [user('Hi')], SAMPLING);
  assert.is(stdout, `${first}\n`);
  assert.match(
    stderr,
    /^\(without math\)\n.*hub +code\n.*\(all members take part\)\n\(2 messages .*\/without \[names\]/s,
  );
  assert.equal(JSON.parse(await readFile(file, 'utf8')), [user('Hi'), assistant(first)]);

  await writeFile(file, JSON.stringify([user('Hi'), assistant(first), user('And then?')]));
  const next = await runCli(['chat', 'generalist', ...ARGUMENTS, '--messages', file, '--without', 'math,code'], {
    cwd,
  });
  const prompt = [user('Hi'), assistant(first), user('And then?')];
  assert.is(next.stdout, `${await textOf(generalist.without(['math', 'code']), prompt, SAMPLING)}\n`);
});

chats('the first error ends what comes through a pipe', async () => {
  const { code, stdout, stderr } = await runCli(['chat', 'hub', ...ARGUMENTS], { cwd, input: '/wihtout math\nHi' });
  assert.equal([code, stdout], [2, '']);
  assert.match(stderr, /^bts: BAD_OPTION: there is no \/wihtout. Did you mean '\/without'\?/);
  assert.is((await callCli('chat', join(cwd, 'plain'))).error?.code, 'BAD_TOKENIZER');
  await writeFile(join(cwd, 'other.json'), '[{"content": 7}]');
  const { error } = await callCli('chat', join(cwd, 'hub'), '--messages', join(cwd, 'other.json'));
  assert.match(error!.message, /other.json' is no conversation/);
});

chats('what a command cannot do is said', async () => {
  const refused = async (model: LanguageModel, line: string, words: RegExp) => {
    const conversation = new Conversation(model, { plain: false, maxTokens: 9 });
    using session = new Session(model, conversation, new Tint(1), { without: [], json: false, isTerminal: false });
    await fails(() => runCommand(session, line), 'BAD_OPTION', words);
  };
  await refused(dense, '/without math', /only experts of a stitched model/);
  await refused(generalist, '/without poetry', /'poetry'/);
  await refused(generalist, '/with math', /'math' is not switched off/);
  await refused(generalist, '/gates on', /no colors/);
  await refused(generalist, '/gates maybe', /expected \/gates/);
  await refused(dense, '/gates', /no gates/);
  await refused(dense, '/save', /expected a file/);
  await refused(dense, `/save ${join(cwd, 'generalist', 'bts.json')} `, /bts.json' is there and is no conversation/);
});

chats('a model without a chat template goes on with what is typed', async () => {
  using model = await DenseModel.load(device, join(cwd, 'plain'));
  const first = await textOf(model, 'let x', { ...SAMPLING, temperature: 0 });
  const second = await textOf(model, `let x${first}\nlet y`, { ...SAMPLING, temperature: 0 });
  const args = ['chat', 'plain', '--plain', '--max-tokens', '9', '--temperature', '0', '--json'];
  const { stdout } = await runCli(args, { cwd, input: 'let x\nlet y\n' });
  assert.equal(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).text),
    [first, second],
  );
});

chats('a signal ends an answer that comes through a pipe, and the program', async () => {
  const args = ['chat', 'hub', '--max-tokens', '190', '--temperature', '3'];
  const running = startCli(args, { cwd, input: 'x\n/new\n'.repeat(10_000) });
  await until(() => running.stdout().length > 200);
  running.process.kill('SIGTERM');
  const { code, stderr } = await running.ended;
  assert.is(code, 143);
  assert.match(stderr, /bts: ABORTED/);
});

chats('what does not fit the model any more is left out from the beginning, but for what the system says', () => {
  const rules = { role: 'system', content: 'be short' };
  const conversation = new Conversation(dense, { plain: false, maxTokens: 1000, messages: [rules] });
  assert.not.ok(conversation.isAsked);
  const said = Array.from({ length: 5 }, (_, i) => `${i}`.repeat(20));
  for (const [i, text] of said.entries()) {
    conversation.ask(text);
    assert.ok(conversation.isAsked);
    const told = conversation.prompt() as ChatMessage[];
    // A message and its answer have 54 tokens, the rules and what begins an answer 28; 150 are there.
    assert.is(conversation.dropped, i < 2 ? 0 : 2 * (i - 1));
    assert.equal(told, [rules, ...conversation.messages.slice(1 + conversation.dropped)]);
    conversation.answer('a'.repeat(9));
  }
  assert.is(conversation.messages.length, 11, 'all of it is kept');
  assert.equal(conversation.renewed().messages, [rules]);
  conversation.ask('x'.repeat(180));
  assert.throws(
    () => conversation.prompt(),
    (error: BtsError) => error.code === 'BAD_OPTION',
  );
  conversation.takeBack();
  conversation.ask('shorter');
  assert.equal((conversation.prompt() as ChatMessage[]).at(-1), user('shorter'));
});

chats('what lies in the place of a saved conversation is kept, unless it is one', async () => {
  const path = join(cwd, 'saved.json');
  await saveMessages(path, [user('one')]);
  await saveMessages(path, [user('two')]);
  assert.equal(await readMessages(path), [user('two')]);
  await writeFile(path, 'a poem');
  await fails(() => saveMessages(path, [user('three')]), 'BAD_OPTION', /choose another name/);
  assert.is(await readFile(path, 'utf8'), 'a poem');
});

/** Types into lines, which are read as the command reads them, and tells what was seen. */
async function typing(
  use: (keys: (text: string) => Promise<void>, lines: TerminalLines, read: string[]) => Promise<void>,
  history: string[] = [],
): Promise<{ screen: string; read: string[]; kept: string[] }> {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const kept: string[] = [];
  const add = async (line: string) => void kept.push(line);
  using lines = new TerminalLines({ input, output }, { lines: history, add }, new AbortController().signal);
  const read: string[] = [];
  const reading = (async () => {
    for await (const line of lines.read(() => '> ')) {
      read.push(line);
      if (line.startsWith('wait')) {
        await lines.during(async (stop) => {
          while (!stop.aborted && !read.includes('go')) await sleep(1);
          read.push(stop.aborted ? 'stopped' : 'done');
        });
      }
    }
  })();
  const keys = async (text: string) => {
    input.write(text);
    await sleep(10);
  };
  await use(keys, lines, read);
  input.end();
  await reading;
  return { screen: stripVTControlCharacters(output.read()?.toString() ?? ''), read, kept };
}

chats('Ctrl-C stops an answer, empties a line, and twice at an empty one ends all', async () => {
  const { read, screen } = await typing(async (keys) => {
    await keys('wait\r');
    await keys('\x03');
    await keys('a mistake\x03');
    await keys('right\r');
    await keys('\x03');
    await keys('more\r');
    await keys('\x03\x03');
    await keys('too late\r');
  });
  assert.equal(read, ['wait', 'stopped', 'right', 'more']);
  assert.is(screen.match(/Ctrl-C again/g)?.length, 2);
});

chats('Ctrl-D ends all', async () => {
  const { read } = await typing(async (keys) => {
    await keys('one\r');
    await keys('\x04');
    await keys('two\r');
  });
  assert.equal(read, ['one']);
});

chats('what is typed during an answer comes behind it, and is shown there', async () => {
  const { read, screen } = await typing(async (keys, _, read) => {
    await keys('wait\r');
    await keys('ahead\rand fur');
    assert.equal(read, ['wait']);
    read.push('go');
    await keys('');
    await keys('ther\r');
  });
  assert.equal(read, ['wait', 'go', 'done', 'ahead', 'and further']);
  assert.match(screen, /> wait\s+> ahead\n> and further/);
});

chats('lines that were typed before come with the arrow keys, also those of earlier conversations', async () => {
  const { read, kept } = await typing(
    async (keys) => {
      await keys('new\r');
      await keys('\x1b[A\x1b[A\r');
      await keys('  \r');
      await keys('\x1b[A\x1b[A\x1b[A\r');
    },
    ['older', 'old'],
  );
  assert.equal(read, ['new', 'old', '  ', 'older']);
  assert.equal(kept, ['new', 'old', 'older']);
});

chats('lines are kept in a file of the user, the last thousand of them', async () => {
  await withUserCache(join(cwd, 'own-cache'), async () => {
    const file = await HistoryFile.open();
    assert.equal(file.lines, []);
    const beside = await HistoryFile.open();
    for (let i = 0; i < 2100; i++) await (i % 2 ? file : beside).add(`line ${i}`);
    assert.equal([(await HistoryFile.open()).lines.length, (await HistoryFile.open()).lines[0]], [1000, 'line 1100']);
    const path = join(cwd, 'own-cache', 'branch-train-stitch', 'chat-history');
    assert.is((await stat(path)).mode & 0o777, 0o600);
    assert.is((await readFile(path, 'utf8')).split('\n').length, 1001);
  });
  await withUserCache(join(cwd, 'saved.json'), async () => (await HistoryFile.open()).add('is not kept'));
});

const gatesOf = (members: string[], mean: number[]): TokenGates => ({
  members,
  stitches: [{ placement: { afterLayer: 3, kind: 'experts_into_hub' }, mean }],
});

chats('tokens have the color of the member that leads, where there are colors', () => {
  for (const depth of [8, 24] as const) {
    const names = COLORS.map((_, m) => `member ${m}`);
    const tint = new Tint(depth);
    const all = gatesOf(
      names,
      names.map(() => 1 / names.length),
    );
    assert.match(stripVTControlCharacters(tint.legend(all)!), /^ member 0 {3}member 1 .* leads .* layer 3/);
    assert.is(tint.legend(all), undefined, 'once');
    const painted = names.map((_, m) =>
      tint.paint(
        'x',
        gatesOf(
          names,
          names.map((_, i) => (i === m ? 0.9 : 0.02)),
        ),
      ),
    );
    assert.is(new Set(painted).size, names.length, `${depth} bits: all differ`);
    const begin = depth === 24 ? '\x1b[38;2;26;26;26;48;2;' : '\x1b[38;5;234;48;5;';
    for (const text of painted) assert.ok(text.startsWith(begin), JSON.stringify(text));
    // Whoever is switched off, the others keep their colors; a line end has none.
    const left = tint.paint('x\n\ny', gatesOf([names[0]!, names[2]!], [0.1, 0.9]));
    const [x, , y] = left.split('\n');
    assert.is(x, tint.paint('x', gatesOf(names, [0.1, 0, 0.9, 0, 0, 0])));
    assert.ok(y!.endsWith('y\x1b[39;49m'));
    tint.isOn = false;
    assert.is(tint.paint('x', all), 'x');
  }
  for (const depth of [1, 4] as const) {
    const tint = new Tint(depth);
    assert.not.ok(tint.isOn);
    assert.is(tint.paint('x', gatesOf(['hub'], [1])), 'x');
    assert.is(tint.legend(gatesOf(['hub'], [1])), undefined);
  }
});

chats.run();
