/** The page at `/` in a browser: what people see, press and hear. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page, Request } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFolder } from '../../lib/base/folder.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { TokenGates } from '../../lib/model/stitches/gate-log.js';
import { expectAccessible, findChromium, startChromium, Watch } from '../support/browser.js';
import { until } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, randomize, writeModel } from '../support/models.js';
import { serve, type TestServer, writeChatTemplate } from './serving-fixtures.js';

const pages = suite('serving: the page');
const device = openCpu();
const config = { ...CONFIGS.llama, layers: 4, maxPositions: 65_536, eosTokens: [] };
const TEMPLATE =
  '{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}';
const KEY = 'open sesame';
const watch = new Watch();
let folder: string;
let server: TestServer;
/** Serves a model without a template, asks for a key and allows little. */
let strict: TestServer;
let browser: Browser;

pages.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-page-'));
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed, config });
  const [hub, code, math] = [await write('hub', 1), await write('code', 2), await write('math', 3)];
  using created = await StitchedModel.create(device, { hub, experts: { code, math }, stitches: 3 });
  randomize(created, 7);
  const stitched = join(folder, 'stitched');
  await replaceFolder(stitched, (temporary) => created.write(temporary));
  strict = await serve({ plain: await StitchedModel.load(device, stitched) }, { apiKey: KEY, maxTokens: 500 });
  await writeChatTemplate(hub, TEMPLATE);
  const dense = await DenseModel.load(device, hub);
  server = await serve({ generalist: await StitchedModel.load(device, stitched), dense });
  const path = findChromium();
  if (path) browser = await startChromium(path);
  else console.log('the page: skipped, there is no chromium');
});
pages.after(async () => {
  await browser?.close();
  await server.close();
  await strict.close();
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

function check(name: string, body: () => Promise<void>): void {
  pages(name, async () => {
    if (browser) await body();
  });
}

/** Opens the page, and closes it afterwards. */
async function onPage(use: (page: Page) => Promise<void>, options?: BrowserContextOptions, url = server.url) {
  const page = await watch.open(browser, url, options);
  try {
    await use(page);
  } finally {
    await page.context().close();
  }
}

const pane = (page: Page, index = 0) => page.locator('.pane').nth(index);
const answers = (page: Page, index = 0) => pane(page, index).locator('.answer');
const ends = (page: Page, index = 0) => pane(page, index).locator('.end');
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

/** Sends a text and waits for the end of what is answered. */
async function send(page: Page, text: string, maxTokens = 40): Promise<void> {
  const before = await page.locator('.exchange').count();
  await page.getByLabel('Max tokens').fill(`${maxTokens}`);
  await page.getByRole('textbox').fill(text);
  await page.getByRole('textbox').press('Enter');
  const count = await page.locator('.pane').count();
  await until(async () => (await page.locator('.exchange').count()) === before + count);
  await idle(page);
}
const idle = (page: Page) => button(page, 'Send').waitFor();

/** What is read of elements in the browser. */
interface Shown {
  className: string;
  textContent: string | null;
  getAttribute(name: string): string | null;
}

interface Choice {
  text: string;
  message: { content: string };
  gates: TokenGates[];
}

/** What the server answers to those who ask it themselves, with the sampling that the page has at first. */
async function asked(body: object): Promise<Choice> {
  const path = 'messages' in body ? '/v1/chat/completions' : '/v1/completions';
  const all = { model: 'generalist', max_tokens: 40, temperature: 0.7, seed: 0, gates: true, ...body };
  const { choices } = (await (await server.post(path, all)).json()) as { choices: [Choice] };
  return choices[0];
}
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

const shown = (gate: number) => gate.toFixed(3);
const leaderOf = ({ members, stitches }: TokenGates) => {
  const { mean } = stitches.at(-1)!;
  return members[mean.indexOf(Math.max(...mean))]!;
};

check('answers a conversation, each token tinted by the member that leads it', async () => {
  await onPage(async (page) => {
    assert.ok(await page.getByLabel('Chat').isChecked(), 'the model has a template');
    await send(page, 'hello');
    const { message, gates } = await asked({ messages: [user('hello')] });
    assert.is(await answers(page).textContent(), message.content);
    assert.is(
      await ends(page).textContent(),
      'generalist, all experts, temperature 0.7, seed 0: 40 tokens, ended at the limit',
    );
    const looks = await page
      .locator('.token')
      .evaluateAll<string[], Shown>((all) => all.map((token) => /member-\d/.exec(token.className)![0]));
    const members = ['hub', 'code', 'math'];
    assert.equal(
      looks,
      gates.map((token) => `member-${members.indexOf(leaderOf(token))}`),
    );
    assert.is(new Set(looks).size, 3, 'each member leads somewhere');
    // Ends of lines are seen, and are no part of the text.
    assert.is(await page.locator('.token .end-of-line').count(), message.content.split('\n').length - 1);
    // Who leads is told by dashes, too.
    const styles = (property: string) =>
      page.evaluate<string[]>(
        `['hub', 'code', 'math'].map((_, m) => getComputedStyle(document.querySelector('.token.member-' + m)).${property})`,
      );
    assert.is(new Set(await styles('backgroundColor')).size, 3);
    assert.is(new Set((await styles('borderImageSource')).map((image) => image.replace(/rgb\([^)]*\)/g, ''))).size, 3);

    // The conversation goes along.
    await send(page, 'and then?');
    const messages = [user('hello'), assistant(message.content), user('and then?')];
    assert.is(await answers(page).nth(1).textContent(), (await asked({ messages })).message.content);
    assert.is(await page.getByRole('textbox').inputValue(), '', 'what was said is no longer in the box');
  });
});

check('goes on with a text where that is chosen, or no conversation can be had', async () => {
  await onPage(async (page) => {
    await page.getByLabel('Completion').check();
    await send(page, 'once upon');
    assert.is(await answers(page).textContent(), (await asked({ prompt: 'once upon' })).text);
    await page.getByLabel('Seed').fill('9');
    await page.getByLabel('Temperature').fill('1.5');
    await send(page, 'once upon', 7);
    const other = await asked({ prompt: 'once upon', seed: 9, temperature: 1.5, max_tokens: 7 });
    assert.is(await answers(page).nth(1).textContent(), other.text);
    assert.is(await page.getByRole('textbox').inputValue(), 'once upon');
  });
});

check('keys, pointer and slider show all members at each stitch of a token', async () => {
  await onPage(async (page) => {
    await send(page, 'hello');
    const { gates } = await asked({ messages: [user('hello')] });
    const cells = pane(page).locator('tbody td');
    const expectToken = async (at: number, how: string) => {
      await pane(page)
        .getByText(`token ${at + 1} of 40`)
        .waitFor();
      const { members, stitches } = gates[at]!;
      const wanted = members.flatMap((_, m) =>
        stitches.map(({ placement, mean }) => {
          return placement.kind === 'hub_into_experts' && m === 0 ? '–' : shown(mean[m]!);
        }),
      );
      assert.equal(await cells.allTextContents(), wanted, how);
    };
    await expectToken(39, 'at first the newest token');
    await answers(page).focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await expectToken(2, 'by keys');
    assert.is(await pane(page).locator('.token.at').count(), 1);
    assert.is(
      await page
        .locator('.token')
        .nth(2)
        .getAttribute('class')
        .then((names) => / at\b/.test(names!)),
      true,
    );
    const heard = await page.locator('#announcer p').last().textContent();
    for (const gate of gates[2]!.stitches.at(-1)!.mean) assert.match(heard!, shown(gate));
    await page.keyboard.press('End');
    await expectToken(39, 'by the key End');
    await page.keyboard.press('ArrowLeft');
    await expectToken(38, 'by the key to the left');

    const visible = await page
      .locator('.token')
      .evaluateAll<number[], Shown>((all) =>
        all.flatMap((token, i) => (/[!-~]/.test(token.textContent ?? '') ? [i] : [])),
      );
    const [first, second] = visible as [number, number];
    await page.locator('.token').nth(first).hover();
    await expectToken(first, 'by passing');
    await page.locator('h1').hover();
    await expectToken(38, 'what was chosen stays when the pointer has passed');
    await page.locator('.token').nth(second).click();
    await page.locator('h1').hover();
    await expectToken(second, 'by a click');

    const slider = pane(page).getByRole('slider');
    await slider.focus();
    await page.keyboard.press('ArrowRight');
    await expectToken(second + 1, 'by the slider');
    assert.match((await slider.getAttribute('aria-valuetext'))!, `${second + 2} of 40, `);
    await pane(page)
      .locator('svg')
      .click({ position: { x: 45, y: 50 } });
    await page.locator('h1').hover();
    await expectToken(0, 'by the chart');
  });
});

check('a finger shows a token, too', async () => {
  await onPage(
    async (page) => {
      await page.getByText('Sampling').tap();
      await page.getByLabel('Max tokens').fill('40');
      await page.getByRole('textbox').fill('hello');
      await button(page, 'Send').tap();
      await page.getByText('40 tokens').waitFor();
      const third = page.locator('.token').filter({ hasText: /[!-~]/ }).nth(2);
      await third.tap();
      assert.match((await third.getAttribute('class'))!, /\bat\b/);
    },
    { hasTouch: true, viewport: { width: 390, height: 844 } },
  );
});

check('the chart grows with the tokens: a line a member, of the stitch that is chosen', async () => {
  await onPage(async (page) => {
    await send(page, 'hello', 25);
    const { gates } = await asked({ messages: [user('hello')], max_tokens: 25 });
    /** By member its points, in the units of the picture. */
    const lines = () =>
      pane(page)
        .locator('.curve')
        .evaluateAll<[string, number[][]][], Shown>((all) =>
          all.map((line) => {
            const points: string[] = line.getAttribute('d')!.slice(1).split('L');
            return [line.getAttribute('data-member')!, points.map((point: string) => point.split(' ').map(Number))];
          }),
        );
    const ticks = () =>
      pane(page)
        .locator('svg text[text-anchor=end]')
        .evaluateAll<[number, number][], Shown>((all) =>
          all.map((text) => [Number(text.textContent), Number(text.getAttribute('y')) - 4]),
        );
    for (const [s, { placement }] of gates[0]!.stitches.entries()) {
      const choice = pane(page).getByLabel('Stitch after');
      const names = placement.kind === 'experts_into_hub' ? ['hub', 'code', 'math'] : ['code', 'math'];
      if (s === 0) assert.is(await choice.inputValue(), await choice.locator('option').last().textContent());
      await choice.selectOption({ index: s });
      await pane(page)
        .getByRole('img', { name: `${names.join(', ')}` })
        .waitFor();
      await until(async () => (await lines()).length === names.length);
      const drawn = new Map(await lines());
      assert.equal([...drawn.keys()], names);
      // The labels say what a height means: 0.34 and 0.36 stand apart, and each point where its gate is.
      const [low, high] = [(await ticks()).at(0)!, (await ticks()).at(-1)!];
      const pixels = (low[1] - high[1]) / (high[0] - low[0]);
      for (const name of names) {
        const points = drawn.get(name)!;
        assert.is(points.length, 25);
        for (const [t, [, y]] of points.entries()) {
          const gate = gates[t]!.stitches[s]!.mean[gates[t]!.members.indexOf(name)]!;
          const read = low[0] + (low[1] - y) / pixels;
          assert.ok(Math.abs(read - gate) < 0.2 / pixels + 1e-9, `${name} at ${t}: ${read} instead of ${gate}`);
        }
      }
      assert.ok(0.02 * pixels >= 2, `0.02 is ${0.02 * pixels} pixels`);
      const labels = (await ticks()).map(([value]) => value);
      assert.is(new Set(labels).size, labels.length);
      assert.ok(labels.length >= 4);
    }
    // What was marked stays so, and the text is tinted by the stitch that is shown.
    await answers(page).focus();
    await page.keyboard.press('Home');
    const first = page.locator('.token').first();
    for (const [s, { mean }] of gates[0]!.stitches.entries()) {
      await pane(page).getByLabel('Stitch after').selectOption({ index: s });
      const look = new RegExp(`member-${mean.indexOf(Math.max(...mean))} .*at`);
      await until(async () => look.test((await first.getAttribute('class'))!));
    }
    await page.getByLabel('Max tokens').fill('26');
    await button(page, 'Again').click();
    await pane(page).getByText('token 26 of 26').waitFor();
    assert.ok((await lines()).every(([, points]) => points.length === 26));
  });
});

check('an expert that is switched off takes no part', async () => {
  await onPage(async (page) => {
    await send(page, 'hello');
    await pane(page).getByRole('switch', { name: 'math' }).uncheck();
    await pane(page).getByRole('heading', { name: 'Without math' }).waitFor();
    const [request] = await Promise.all([page.waitForRequest('**/v1/chat/completions'), button(page, 'Again').click()]);
    assert.equal(request.postDataJSON().without, ['math']);
    await idle(page);
    const [all, some] = await Promise.all([
      asked({ messages: [user('hello')] }),
      asked({ messages: [user('hello')], without: ['math'] }),
    ]);
    assert.is.not(all.message.content, some.message.content);
    assert.is(await answers(page).textContent(), some.message.content);
    assert.equal(await pane(page).locator('tbody th').allTextContents(), ['hub', 'code']);
    assert.equal(await pane(page).locator('.curve').count(), 2);
  });
});

check('a second pane answers the same beside it, on the same seed', async () => {
  await onPage(async (page) => {
    await send(page, 'hello');
    await send(page, 'and then?');
    await button(page, 'Second pane').click();
    await pane(page, 1).getByRole('heading', { name: 'The hub alone' }).waitFor();
    await idle(page);
    const first = (await answers(page).nth(0).textContent())!;
    const messages = [user('hello'), assistant(first), user('and then?')];
    const alone = await asked({ messages, without: ['code', 'math'] });
    assert.is(await answers(page, 1).nth(0).textContent(), first, 'it goes on from the same conversation');
    assert.is(await answers(page, 1).nth(1).textContent(), alone.message.content);
    assert.is.not(await answers(page).nth(1).textContent(), alone.message.content);

    await pane(page, 1).getByRole('switch', { name: 'math' }).check();
    await page.getByLabel('Seed').fill('5');
    await button(page, 'Again').click();
    await until(async () => (await answers(page, 1).nth(1).textContent()) !== alone.message.content);
    await idle(page);
    const both = await Promise.all([asked({ messages, seed: 5 }), asked({ messages, seed: 5, without: ['code'] })]);
    for (const [p, { message }] of both.entries()) {
      assert.is(await answers(page, p).nth(1).textContent(), message.content, `pane ${p}`);
    }
    await pane(page, 1).getByRole('button', { name: 'Close' }).click();
    assert.is(await page.locator('.pane').count(), 1);
  });
});

check('an answer comes bit by bit and can be stopped', async () => {
  await onPage(async (page) => {
    await page.getByLabel('Max tokens').fill('60000');
    await page.getByLabel('Temperature').fill('0');
    await page.getByRole('textbox').fill('on and on');
    await button(page, 'Send').click();
    await page.locator('.token').nth(1500).waitFor({ state: 'attached' });
    assert.is(await page.locator('.exchange').getAttribute('aria-busy'), 'true');
    await button(page, 'Stop').click();
    await page.getByText(/: \d+ tokens, stopped$/).waitFor();
    const count = await page.locator('.token').count();
    assert.ok(count < 60_000, `${count} tokens`);
    const below = await pane(page)
      .locator('.log')
      .evaluate<number, { scrollHeight: number; scrollTop: number; clientHeight: number }>(
        ({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight,
      );
    assert.ok(below < 40, `what came last is in sight, ${below} pixels are not`);
    assert.match((await ends(page).textContent())!, `: ${count} tokens, stopped`);
    // Nobody computes it any more, and the next question is answered.
    const running = async () =>
      (await (await fetch(`${server.url}/metrics`)).text()).match(
        /bts_running_sequences\{model="generalist"\} (\d+)/,
      )![1];
    await until(async () => (await running()) === '0');
    await send(page, 'go on', 5);
    assert.match((await ends(page).nth(1).textContent())!, ': 5 tokens, ended at the limit');
  });
});

check('screen readers hear of a whole answer, and not of each token', async () => {
  await onPage(async (page) => {
    await send(page, 'hello', 60);
    const { message } = await asked({ messages: [user('hello')], max_tokens: 60 });
    const heard = await page.locator('#announcer p').allTextContents();
    assert.equal(heard, ['Answering.', `All experts: ${message.content}`]);
    const live = await page.evaluate<string[]>(
      `[...document.querySelectorAll('[aria-live], [role=log], [role=status], [role=alert], output')].map((e) => e.id || e.className)`,
    );
    assert.equal(live, ['notice', 'fault', 'key-fault', 'announcer']);
  });
});

check('what goes wrong is said in a sentence', async () => {
  await onPage(async (page) => {
    const fault = () => page.locator('.fault').last();
    const refused = async (words: RegExp) => {
      await send(page, 'hello', 3);
      await fault().filter({ hasText: words }).waitFor();
      assert.is(await fault().getAttribute('role'), 'alert');
    };
    const answering = (answer: { status?: number; body: string }) =>
      page.route('**/v1/chat/completions', (route) => route.fulfill({ contentType: 'text/event-stream', ...answer }));
    await page.getByLabel('Temperature').fill('200');
    await page.getByRole('textbox').fill('hello');
    await page.getByRole('textbox').press('Enter');
    assert.is(await page.locator('.exchange').count(), 0, 'a wrong number is not sent');
    await page.getByLabel('Temperature').fill('0.7');

    await send(page, 'x'.repeat(65_537), 3);
    await fault()
      .filter({ hasText: /^The server refuses that: .*at most 65536.*\.$/ })
      .waitFor();
    await answering({ status: 429, body: JSON.stringify({ error: { message: '3 prompts wait' } }) });
    await refused(/^The server has too much to do: 3 prompts wait\.$/);
    await answering({ status: 500, body: '<html>' });
    await refused(/^The server failed: .*500\.$/);
    const token = `data: ${JSON.stringify({ choices: [{ delta: { content: 'so far' }, finish_reason: null }] })}\n\n`;
    await answering({ body: token });
    await refused(/^The connection ended before the answer did\./);
    assert.is(await answers(page).last().textContent(), 'so far', 'what came stays');
    await answering({ body: `${token}data: ${JSON.stringify({ error: { message: 'the device failed.' } })}\n\n` });
    await refused(/^The server failed: the device failed\.$/);
    await page.unrouteAll();
    await page.route('**/v1/chat/completions', (route) => route.abort('connectionrefused'));
    await refused(/^The server cannot be reached\./);
    await page.unrouteAll();

    // What was not answered is no part of the conversation, and asking again is.
    const [request] = await Promise.all([page.waitForRequest('**/v1/chat/completions'), button(page, 'Again').click()]);
    assert.equal(
      request.postDataJSON().messages.map(({ role }: { role: string }) => role),
      ['user', 'assistant', 'user', 'assistant', 'user'],
    );
    await idle(page);
    assert.match((await ends(page).last().textContent())!, ': 3 tokens, ended at the limit');
  });
});

check('says when there is no server, and tries again', async () => {
  const page = await (await browser.newContext()).newPage();
  await page.route('**/v1/models', (route) => route.abort('connectionrefused'));
  await page.goto(server.url);
  await page.getByText('The server cannot be reached. Is it still running?').waitFor();
  await page.unrouteAll();
  await button(page, 'Try again').click();
  await pane(page).getByText('No answer yet.').waitFor();
  await page.context().close();
});

check('asks for the key where there is one, and keeps it in the tab', async () => {
  const open = await fetch(strict.url);
  assert.is(open.status, 200, 'the page itself needs none');
  await onPage(
    async (page) => {
      const dialog = page.getByRole('dialog', { name: 'This server asks for a key' });
      await dialog.waitFor();
      await page.getByRole('textbox', { name: 'Key' }).fill('wrong');
      await page.keyboard.press('Enter');
      await dialog.getByText('this one it does not know').waitFor();
      await page.getByRole('textbox', { name: 'Key' }).fill(KEY);
      await button(page, 'Use it').click();
      await pane(page).getByText('No answer yet.').waitFor();
      assert.ok(await page.getByLabel('Chat').isDisabled(), 'the model has no template');
      const [request] = await Promise.all([page.waitForRequest('**/v1/completions'), send(page, 'hello', 5)]);
      assert.is(request.headers().authorization, `Bearer ${KEY}`);
      assert.match((await ends(page).textContent())!, ': 5 tokens, ended at the limit');

      await send(page, 'hello', 501);
      await page.getByText('The server refuses that: max_tokens: 501 were asked for, 500 are allowed.').waitFor();
      assert.equal(await page.evaluate('[Object.values(sessionStorage), localStorage.length, document.cookie]'), [
        [KEY],
        0,
        '',
      ]);
      await page.reload();
      await pane(page).getByText('No answer yet.').waitFor();
      assert.not.ok(await dialog.isVisible());
    },
    {},
    strict.url,
  );
});

check('serves dense models as well, which have neither gates nor experts', async () => {
  await onPage(async (page) => {
    await send(page, 'hello');
    const before = await answers(page).textContent();
    await pane(page).getByRole('switch', { name: 'math' }).uncheck();
    await page.getByLabel('Model').selectOption('dense');
    await send(page, 'and then?');
    const messages = [user('hello'), assistant(before!), user('and then?')];
    const { message } = await asked({ model: 'dense', messages, gates: undefined });
    assert.is(await answers(page).nth(1).textContent(), message.content);
    assert.is(await answers(page).nth(1).locator('.token').count(), 0);
    assert.not.ok(await pane(page).locator('svg').isVisible());
    assert.is(await page.getByRole('switch').count(), 0);
    assert.not.ok(await button(page, 'Second pane').isVisible());
    await page.getByLabel('Model').selectOption('generalist');
    assert.is(await page.getByRole('switch').count(), 2);
  });
});

check('a long answer scrolls by keys, also where there are no tokens to go to', async () => {
  await onPage(async (page) => {
    await page.getByLabel('Model').selectOption('dense');
    await page.getByLabel('Temperature').fill('0');
    await send(page, 'go on', 2500);
    const log = "document.querySelector('.log')";
    assert.ok(await page.evaluate<boolean>(`${log}.scrollHeight > ${log}.clientHeight + 40`));
    await expectAccessible(page, 'a long answer');
    await page.locator('.log').focus();
    await page.keyboard.press('Home');
    await until(async () => (await page.evaluate<number>(`${log}.scrollTop`)) === 0);
  });
});

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [390, 1440]) {
    check(`axe finds nothing, and nothing is cut off: ${colorScheme}, ${width} pixels`, async () => {
      const options = { colorScheme, viewport: { width, height: width === 390 ? 844 : 900 } };
      const expectAllIn = async (page: Page) => {
        const widest = await page.evaluate<number>('document.documentElement.scrollWidth');
        assert.ok(widest <= width, `${widest} pixels wide`);
      };
      const dark = colorScheme === 'dark';
      await onPage(async (page) => {
        await expectAccessible(page, 'at first');
        const background = await page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
        assert.is(background, dark ? 'rgb(23, 25, 29)' : 'rgb(255, 255, 255)');
        if (width === 390) await page.getByText('Sampling').click();
        await send(page, 'hello');
        await button(page, 'Second pane').click();
        await idle(page);
        await page.locator('.answer').first().focus();
        await page.keyboard.press('Home');
        await page.locator('.token.at').waitFor({ state: 'attached' });
        await expectAccessible(page, 'with answers');
        await expectAllIn(page);
        await page.route('**/v1/chat/completions', (route) => route.abort());
        await send(page, 'hello');
        await expectAccessible(page, 'with errors');
        await expectAllIn(page);
      }, options);
      await onPage(
        async (page) => {
          await page.getByRole('dialog').waitFor();
          await expectAccessible(page, 'with the question for the key');
        },
        options,
        strict.url,
      );
    });
  }
}

check('is light, and allows nothing but itself', async () => {
  const { headers } = await fetch(server.url);
  const policy = headers.get('content-security-policy')!.split('; ');
  for (const rule of [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "frame-ancestors 'none'",
  ]) {
    assert.ok(policy.includes(rule), rule);
  }
  assert.is(headers.get('x-content-type-options'), 'nosniff');
  assert.is(headers.get('referrer-policy'), 'no-referrer');
  const page = await (await browser.newContext()).newPage();
  const requests: Request[] = [];
  page.on('requestfinished', (request) => requests.push(request));
  await page.goto(server.url, { waitUntil: 'networkidle' });
  const sizes = await Promise.all(requests.map((request) => request.sizes()));
  const bytes = sizes.reduce((sum, { responseBodySize }) => sum + responseBodySize, 0);
  assert.ok(bytes > 10_000 && bytes < 30_000, `${bytes} bytes`);
  // The policy is in force: what is written into the page does not run.
  const refusal = await page.evaluate<string>(`new Promise((resolve) => {
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => resolve(effectiveDirective));
    const script = document.createElement('script');
    script.text = trustedTypes.createPolicy('none', { createScript: (text) => text }).createScript('document.title = "taken over"');
    document.body.append(script);
  })`);
  assert.is(refusal, 'script-src-elem');
  assert.is(await page.title(), 'branch-train-stitch');
  await page.context().close();
});

pages('files beside the page are not served, and the page is kept where it has not changed', async () => {
  for (const path of [
    '/page/../http/app.ts',
    '/page/..%2fhttp%2fapp.ts',
    '/page/%2e%2e/http/app.ts',
    '/page/none.js',
  ]) {
    assert.is((await fetch(server.url + path)).status, 404, path);
  }
  const first = await fetch(server.url);
  const again = await fetch(server.url, { headers: { 'If-None-Match': first.headers.get('etag')! } });
  assert.is(again.status, 304);
});

pages('nothing unexpected happened, in no page and in no server', () => {
  assert.equal(watch.faults, []);
  assert.equal([...server.failures, ...strict.failures], []);
});

pages.run();
