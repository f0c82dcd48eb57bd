// A report in a browser without a network: what its canvases show, and whether it complains. Scripts for the page are
// text, because the tests have no types of a browser.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';

/** Fewer pixels may be chance. */
const SPECK = 5;
const ATTEMPTS = 100;
const PAUSE_MS = 50;

export class ReportPage {
  readonly page: Page;

  private constructor(page: Page) {
    this.page = page;
  }

  /** Fails when the page writes to the console, throws, or asks for anything but itself. */
  static async open(browser: Browser, path: string, use: (report: ReportPage) => Promise<void>): Promise<void> {
    const context = await browser.newContext({ offline: true, viewport: { width: 1200, height: 900 } });
    try {
      const page = await context.newPage();
      const troubles: string[] = [];
      const address = pathToFileURL(path).href;
      page.on('console', (message) => troubles.push(`console ${message.type()}: ${message.text()}`));
      page.on('pageerror', (error) => troubles.push(`error: ${error.message}`));
      page.on('requestfailed', (request) => troubles.push(`failed: ${request.url()}`));
      page.on('request', (request) => {
        const url = request.url();
        if (url !== address && !url.startsWith('data:')) troubles.push(`asked for ${url}`);
      });
      await page.goto(address);
      await page.waitForSelector('dl');
      await use(new ReportPage(page));
      assert.deepEqual(troubles, []);
    } finally {
      await context.close();
    }
  }

  /** Names of all charts, from top to bottom. */
  charts(): Promise<string[]> {
    return this.page.evaluate(`[...document.querySelectorAll('[data-chart]')].map((figure) => figure.dataset.chart)`);
  }

  /** Colour (`#rrggbb`) → opaque pixels of it on the canvas of a chart, right of a share of its width. */
  async colours(chart: string, from = 0): Promise<Map<string, number>> {
    const entries: [string, number][] = await this.page.evaluate(`{
      const canvas = document.querySelector('[data-chart="${chart}"] canvas');
      const { width, height } = canvas;
      // Of a copy: a canvas that is read more than once warns.
      const copy = Object.assign(document.createElement('canvas'), { width, height }).getContext('2d');
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(Math.round(width * ${from}), 0, width, height);
      const counts = new Map();
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] !== 255) continue;
        const hex = [0, 1, 2].map((part) => data[i + part].toString(16).padStart(2, '0')).join('');
        counts.set('#' + hex, (counts.get('#' + hex) ?? 0) + 1);
      }
      [...counts];
    }`);
    return new Map(entries);
  }

  /** A colour of the style sheet, as it is now. */
  variable(name: string): Promise<string> {
    return this.page.evaluate(`getComputedStyle(document.documentElement).getPropertyValue('${name}').trim()`);
  }

  ground(): Promise<string> {
    return this.page.evaluate('getComputedStyle(document.body).backgroundColor');
  }

  /** That an expression of the page becomes true. Playwright's own waiting would evaluate text in the page, which it forbids. */
  async becomes(expression: string): Promise<void> {
    for (let attempt = 0; !(await this.page.evaluate(expression)); attempt++) {
      assert.ok(attempt < ATTEMPTS, `never true: ${expression}`);
      await sleep(PAUSE_MS);
    }
  }

  /** That each of these colours of the style sheet is on the canvas of the chart, right of a share of its width. */
  async assertPainted(chart: string, names: readonly string[], from = 0): Promise<void> {
    for (const name of names) {
      const colour = await this.variable(name);
      // The browser tells the page of a new size or scheme when it next draws.
      for (let attempt = 0; (await this.#count(chart, colour, from)) <= SPECK; attempt++) {
        assert.ok(attempt < ATTEMPTS, `${chart}: nothing in ${colour} (${name})`);
        await sleep(PAUSE_MS);
      }
    }
  }

  async #count(chart: string, colour: string, from: number): Promise<number> {
    return (await this.colours(chart, from)).get(colour) ?? 0;
  }

  /** That every one of the first `lines` lines is drawn. */
  assertDrawn(chart: string, lines: number): Promise<void> {
    const names = Array.from({ length: lines }, (_, line) => `--series-${line}`);
    return this.assertPainted(chart, chart === 'timeline' ? ['--decode', '--prefill'] : names);
  }

  /** The tooltip at a point of the plot: shares of its width and height. */
  async hover(chart: string, x: number, y: number): Promise<string> {
    const plot = this.page.locator(`[data-chart="${chart}"] .u-over`);
    await plot.scrollIntoViewIfNeeded();
    const { width, height } = (await plot.boundingBox())!;
    await plot.hover({ position: { x: width * x, y: height * y } });
    return this.page.locator(`[data-chart="${chart}"] .tooltip`).innerText();
  }
}
