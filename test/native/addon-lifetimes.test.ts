/** However a process, a worker thread or a device ends, nothing crashes, hangs or stays behind. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const helpers = fileURLToPath(new URL('../support/addon-script.cjs', import.meta.url));
const names = 'load, open, threads, work, first, start, message, ended, collected';

/** Runs a script in a process of its own and returns what it printed. It must end by itself with the exit code given. */
function script(body: string, { flags = [] as string[], code = 0 } = {}): Promise<string> {
  const whole = `const { ${names} } = require(${JSON.stringify(helpers)});
    const print = (text) => process.stdout.write(String(text));
    (async () => { ${body} })();`;
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [...flags, '--eval', whole], { timeout: 30_000 }, (_, stdout, stderr) => {
      const { exitCode, signalCode } = child;
      if (exitCode === code) resolve(stdout);
      else reject(new Error(`ended with code ${exitCode}, signal ${signalCode}: ${stderr}`));
    });
  });
}

/** Runs a script 20 times, two at once: most of these are races that would be lost only now and then. */
async function often(body: string, printed: string, code = 0): Promise<void> {
  for (let i = 0; i < 10; i++) {
    assert.equal(await Promise.all([script(body, { code }), script(body, { code })]), [printed, printed]);
  }
}

test('a process waits for a read that is pending, and for nothing else', async () => {
  assert.is(await script('const device = open(); first(device.read(work(device, 20))).then(print);'), '256');
  assert.is(await script('const device = open(); device.read().then(() => print("idle"));'), 'idle');
  // Minutes of work that nobody asks for.
  assert.is(await script('const device = open(); work(device, 1e5);'), '');
});

test('a process may exit with work in flight and reads pending', async () => {
  await often(
    `const device = open();
     for (let i = 0; i < 5; i++) device.read(work(device, 20, 1024)).then(() => print("served"));
     setTimeout(() => process.exit(0), Math.random() * 5);`,
    '',
  );
});

test('a process may exit while devices, tensors and results are still there', async () => {
  await often(
    `globalThis.kept = [open(), open()];
     kept.push(...kept.map((device) => work(device, 1)));
     print(await first(kept[0].read(kept[2])));
     process.exit(3);`,
    '256',
    3,
  );
});

test('an uncaught error with work in flight ends the process as any other', async () => {
  await script('const device = open(); device.read(work(device, 100)); throw new Error("uncaught");', { code: 1 });
});

test('two worker threads and the main thread work at the same time', async () => {
  assert.is(
    await script(
      `const body = 'const device = open(); post(await first(device.read(work(device, 5)))); device.dispose();';
       const workers = [start(body), start(body)];
       const device = open();
       const own = first(device.read(work(device, 5)));
       print(await Promise.all([own, ...workers.map(message)]));`,
    ),
    '256,256,256',
  );
});

test('a worker thread may end without disposing its device', async () => {
  assert.is(
    await script(
      `for (let i = 0; i < 10; i++) {
         const worker = start('const device = open(); post(await first(device.read(work(device, 1))));');
         print(await message(worker) + ' ' + await ended(worker) + ' ');
       }`,
    ),
    '256 0 '.repeat(10),
  );
});

test('a worker thread may be terminated with work in flight, and others do not notice', async () => {
  assert.is(
    await script(
      `const device = open();
       for (let i = 0; i < 20; i++) {
         const worker = start('const device = open(); post(0); for (;;) await device.read(work(device, 3));');
         await message(worker);
         const own = first(device.read(work(device, 1)));
         await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
         await worker.terminate();
         if (await own !== 256) print('wrong');
       }
       print('done');`,
    ),
    'done',
  );
});

test('a process may exit while its worker threads are at work', async () => {
  await often(
    `const body = 'const device = open(); post(0); for (;;) await device.read(work(device, 3));';
     await Promise.all([start(body), start(body)].map(message));
     process.exit(0);`,
    '',
  );
});

test('two loads in one process are apart', async () => {
  assert.is(
    await script(
      `const one = load();
       const path = Object.keys(require.cache).find((path) => path.endsWith('.node'));
       delete require.cache[path];
       const two = require(path);
       const [a, b] = [open(1, one), open(1, two)];
       const [x, y] = [work(a, 1), work(b, 1)];
       try {
         a.run('fill', { y, value: 0 });
       } catch (error) {
         print(error.code + ' ');
       }
       print((one !== two) + ' ' + await first(a.read(x)) + ' ' + await first(b.read(y)));`,
    ),
    'BAD_OPTION true 256 256',
  );
});

test('a device ends its threads when it is disposed', async () => {
  assert.is(
    await script(
      `const before = threads();
       for (let i = 0; i < 200; i++) {
         const device = open(3);
         const read = device.read(work(device, 1, 10));
         if (i % 2) await read;
         else read.catch((error) => error.code === 'DISPOSED' || print(error));
         device.dispose();
       }
       print(threads() - before);`,
    ),
    '0',
  );
});

test('a device that nobody holds any more ends its threads', async () => {
  assert.is(
    await script(
      `const before = threads();
       for (let i = 0; i < 20; i++) await first(((device) => device.read(work(device, 1, 10)))(open(3)));
       print(await collected(() => threads() === before));`,
      { flags: ['--expose-gc'] },
    ),
    'true',
  );
});

test('a pending read keeps its device, and a tensor does', async () => {
  assert.is(
    await script(
      `const pending = ((device) => first(device.read(work(device, 20))))(open());
       let device = open();
       const tensor = work(device, 1);
       device = undefined;
       await collected(() => false);
       print(await pending + ' ');
       tensor.view([1], 0).dispose();
       print('alive');`,
      { flags: ['--expose-gc'] },
    ),
    '256 alive',
  );
});

test('a device may be disposed by what a read leads to', async () => {
  assert.is(
    await script(
      `const device = open();
       const outcomes = [];
       const tell = (text) => () => outcomes.push(text);
       const read = device.read(work(device, 1));
       const later = device.read(work(device, 50));
       await read.then(() => device.dispose());
       await later.then(tell('served'), (error) => outcomes.push(error.code));
       print(outcomes);`,
    ),
    'DISPOSED',
  );
});

test.run();
