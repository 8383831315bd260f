// Two people chat in two windows of headless Chromium, on the pages of `fanout dev --example chat`.
//
//   check.js CHROMIUM URL [FILE]     URL is that of the port; a picture of both windows goes to FILE
//
// Prints `ok ...` or `FAILED ...` for each check, and exits with 1 if a check failed. Every wait is for an event.
'use strict';

const assert = require('node:assert/strict');
const {once} = require('node:events');
const net = require('node:net');
const {chromium} = require('playwright-core');

const [executablePath, url, file] = process.argv.slice(2);
const SIZE = {width: 400, height: 600};
let failed = 0;

async function check(name, run) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.message}`);
  }
}

/** A network between a browser and the server that can be cut. */
class Network {
  #port = 0;
  #sockets = new Set();
  #server = net.createServer(near => {
    const far = net.connect(Number(new URL(url).port), '127.0.0.1');
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.pipe(other);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  });

  /** Begins to listen, again on the same port. Returns the URL. */
  async restore() {
    await once(this.#server.listen(this.#port, '127.0.0.1'), 'listening');
    this.#port = this.#server.address().port;
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Closes all connections, and accepts no others. */
  async cut() {
    const closed = new Promise(resolve => this.#server.close(resolve));
    this.#sockets.forEach(socket => socket.destroy());
    await closed;
  }
}

/** Opens the page of a person, in a window without anything of the other one. Collects what its console reports. */
async function open(browser, url, person, complaints) {
  const context = await browser.newContext({viewport: SIZE});
  const page = await context.newPage();
  page.on('console', message => {
    if (['error', 'warning'].includes(message.type())) {
      complaints.push(`${person}: ${message.text()}`);
    }
  });
  page.on('pageerror', error => complaints.push(`${person}: ${error.message}`));
  await page.goto(`${url}/${person}`);
  await page.getByRole('status').filter({hasText: /^connected$/}).waitFor();
  return page;
}

async function say(page, text) {
  await page.getByLabel('Message', {exact: true}).fill(text);
  await page.getByRole('button', {name: 'Send'}).click();
}

/** Waits for a message, and returns all messages of a page: `person: text`. */
async function messages(page, last) {
  const items = page.locator('#messages li');
  await items.filter({hasText: last}).first().waitFor();
  return items.evaluateAll(all => all.map(item => `${item.firstChild.textContent}: ${item.lastChild.textContent}`));
}

/** Writes a picture of two windows, side by side. */
async function picture(browser, pages, file) {
  const shots = await Promise.all(pages.map(page => page.screenshot()));
  const images = shots.map(shot => `<img src="data:image/png;base64,${shot.toString('base64')}">`);
  const page = await browser.newPage({viewport: {width: 2 * SIZE.width + 3, height: SIZE.height + 2}});
  const style = 'body { display: flex; gap: 1px; margin: 0; background: gray; padding: 1px }';
  await page.setContent(`<style>${style}</style>${images.join('')}`);
  await page.screenshot({path: file});
}

async function main() {
  const browser = await chromium.launch({executablePath, args: ['--no-sandbox']});
  const complaints = [];
  const network = new Network();
  const ann = await open(browser, url, 'ann', complaints);
  const luis = await open(browser, await network.restore(), 'luis', complaints);

  await check('a message arrives translated, with the name from the token', async () => {
    await say(ann, 'Hello! I am luis.');
    assert.deepEqual(await messages(luis, 'Ĥéļļö'), ['ann: ⟦es⟧ Ĥéļļö! Î áṁ ļûîš.']);
    assert.deepEqual(await messages(ann, 'Hello'), ['ann: Hello! I am luis.']);
  });

  await check('a bad word is masked for both', async () => {
    await say(luis, 'what the shit');
    assert.equal((await messages(ann, '****')).at(-1), 'luis: what the ****');
    assert.equal((await messages(luis, '****')).at(-1), 'luis: ⟦es⟧ ŵĥáţ ţĥé ****');
  });

  await check('the token refuses texts before moderation, and publishing after it', async () => {
    await luis.getByRole('button', {name: 'Try what the token'}).click();
    await luis.locator('#attempts li').nth(1).waitFor();
    const attempts = await luis.locator('#attempts li').allTextContents();
    assert.deepEqual(attempts, [
      'subscribe to "friends-publish": permission denied',
      'publish to "friends-subscribe-spanish": permission denied',
    ]);
  });

  if (file) {
    await picture(browser, [ann, luis], file);
  }

  await check('markup stays text', async () => {
    await say(ann, '<img src=x onerror=alert(1)>');
    assert.equal((await messages(ann, '<img')).at(-1), 'ann: <img src=x onerror=alert(1)>');
    assert.equal(await ann.locator('#messages img').count(), 0);
  });

  await check('a page has the history, and each message once', async () => {
    const before = await messages(ann, '<img');
    await ann.reload();
    await ann.getByRole('status').filter({hasText: /^connected$/}).waitFor();
    assert.deepEqual(await messages(ann, '<img'), before);
    await say(luis, 'Once');
    assert.deepEqual(await messages(ann, 'Once'), [...before, 'luis: Once']);
  });

  await check('a message that was on its way gets its place in the history', async () => {
    const before = await messages(ann, 'Once');
    const texts = await ann.evaluate(() => {
      const message = (id, from, text) => JSON.stringify({id, from, text});
      showHistory([message('late-1', 'luis', 'first'), message('late-3', 'luis', 'third')]);
      showHistory([message('late-1', 'luis', 'first'), message('late-2', 'luis', 'second'), message('late-3', 'luis', 'third')]);
      ['null', '7', '[]', 'no JSON', '{"text":7}'].forEach(text => show(text));
      return [...document.querySelectorAll('#messages li')].map(item => item.lastChild.textContent);
    });
    assert.deepEqual(texts.slice(before.length), ['first', 'second', 'third', 'null', '7', '[]', 'no JSON', '{"text":7}']);
    await ann.reload();
    assert.deepEqual(await messages(ann, 'Once'), before);
  });

  await check('a page says that its connection is lost, and shows what it missed when it is back', async () => {
    await luis.evaluate(() => { window.before = document.querySelectorAll('#messages li').length; });
    await network.cut();
    await luis.getByRole('status').filter({hasText: /^connection lost/}).waitFor();
    await say(ann, 'Missed');
    await messages(ann, 'Missed');
    await network.restore();
    await luis.getByRole('status').filter({hasText: /^connected$/}).waitFor();
    await messages(luis, 'ššéð');
    assert.equal(await luis.evaluate(() => document.querySelectorAll('#messages li').length - window.before), 1);
  });

  await check('a page fits a phone', async () => {
    await ann.setViewportSize({width: 320, height: 568});
    const [content, window] = await ann.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, `${content} > ${window}`);
    await ann.getByRole('button', {name: 'Send'}).click({trial: true});
    await ann.setViewportSize(SIZE);
  });

  await check('a message that is too long is refused with the reason', async () => {
    await ann.getByLabel('Message', {exact: true}).evaluate(input => input.removeAttribute('maxlength'));
    await say(ann, 'x'.repeat(5000));
    await ann.getByRole('alert').filter({hasText: '4096'}).waitFor();
    await ann.getByLabel('Message', {exact: true}).fill('');
    await say(ann, 'Short');
    await messages(ann, 'Short');
    assert.equal(await ann.locator('#error').textContent(), '');
  });

  await check('the consoles report what was refused and cut, and nothing breaks the policy', async () => {
    // Chromium reports each status from 400 on: that of the message that is too long. It reports each attempt to connect.
    const caused = /^(ann: .* a status of 413 \(Payload Too Large\)|luis: .* net::ERR_(CONNECTION_|INCOMPLETE_|EMPTY_|NETWORK_).*)$/;
    assert.deepEqual(complaints.filter(complaint => !caused.test(complaint)), []);
    assert.equal(complaints.filter(complaint => complaint.startsWith('ann')).length, 1);
  });

  await browser.close();
  await network.cut();
  process.exitCode = failed ? 1 : 0;
}

main().catch(error => {
  console.log(`FAILED the checks: ${error.stack}`);
  process.exitCode = 1;
});
