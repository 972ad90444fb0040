// Looks at the dashboard with Debian's Chromium, and prints what it saw as one line of JSON.
// node page.mjs URL [FOLDER for pictures]: waits for a line on standard input before it looks for what has changed.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [url, pictures] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const seen = { errors: [] };
const quiet = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: quiet });
const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, colorScheme: 'light' });
const page = await context.newPage();
page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()));
page.on('pageerror', (error) => seen.errors.push(String(error)));
page.on('dialog', (dialog) => { seen.errors.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
const shoot = async (name) => pictures && page.screenshot({ path: `${pictures}/${name}.png` });
const rows = page.locator('#calls tbody tr');

seen.status = (await page.goto(url)).status();
seen.address = new URL(page.url()).search;
seen.before = await rows.count();
console.log('loaded');
await lines.next();
await page.waitForFunction((before) => document.querySelectorAll('#calls tbody tr').length > before, seen.before, { timeout: 20000 });
seen.after = await rows.count();
await shoot('dashboard-light');
await page.fill('#filter', 'new_tool');
seen.filtered = await page.locator('#calls tbody tr:visible').count();
await page.fill('#filter', '');
await page.keyboard.press('Tab');
seen.focused = await page.evaluate(() => document.activeElement !== document.body);
await page.locator('#calls a').first().click();
await page.waitForURL(/\/call\//);
seen.call = await page.locator('main').innerText();
await page.goBack();
await page.emulateMedia({ colorScheme: 'dark' });
seen.dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
await shoot('dashboard-dark');
await page.setViewportSize({ width: 400, height: 800 });
seen.narrow = await page.evaluate(() => document.documentElement.scrollWidth);
await shoot('dashboard-narrow');
seen.unnamed = await page.locator('svg[role=img]:not([aria-label])').count();
seen.text = await page.locator('body').innerText();
const other = await (await browser.newContext()).newPage();
seen.replayed = (await other.goto(url)).status();
console.log(JSON.stringify(seen));
await browser.close();
process.exit(0);
