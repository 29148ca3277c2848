/** A browser to look at pages with. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import axe from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import * as assert from 'uvu/assert';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** Chromium on the path, as Debian's package `chromium` puts it there. */
export function findChromium(): string | undefined {
  const paths = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function startChromium(executablePath: string): Promise<Browser> {
  // Its sandbox is not to be had for root.
  return chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
}

/** What pages did that they must not: errors, what their policy forbids, what they asked other servers. */
export class Watch {
  readonly faults: string[] = [];

  async open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext(options);
    await context.addInitScript({ content: axe.source });
    const page = await context.newPage();
    // Answers that are errors are told as such, too: they are what is tested.
    page.on('console', (message) => {
      const isFault = message.type() === 'error' && !message.text().startsWith('Failed to load resource');
      if (isFault) this.faults.push(message.text());
    });
    page.on('pageerror', (error) => this.faults.push(`${error.stack}`));
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== new URL(url).origin) this.faults.push(`asks ${request.url()}`);
    });
    await page.goto(url);
    return page;
  }
}

/** Expects a page that axe finds nothing in. */
export async function expectAccessible(page: Page, what: string): Promise<void> {
  const { violations } = await page.evaluate<axe.AxeResults>('axe.run()');
  const found = violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 120)} ${failureSummary}`),
  );
  assert.equal(found, [], what);
}
