// Pools of Node do what the benchmark `overhead` asks for; the protocol is that of `peers.py`.
//
//     node peers.mjs jest-worker | workerpool | tinypool | piscina
//
// Two workers. They are child processes, but for piscina, which has threads only.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const WORKERS = 2;
const require = createRequire(import.meta.url);
const file = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Each has a function that runs one of those in the worker's module. */
const pools = {
  'jest-worker': async () => {
    const { Worker } = require('jest-worker');
    const exposedMethods = ['noop', 'echo'];
    const pool = new Worker(file('worker.cjs'), {
      exposedMethods,
      numWorkers: WORKERS,
      forkOptions: { serialization: 'advanced' },
    });
    return (name, value) => pool[name](value);
  },
  workerpool: async () => {
    const workerpool = require('workerpool');
    const pool = workerpool.pool(file('workerpool.cjs'), {
      workerType: 'process',
      minWorkers: WORKERS,
      maxWorkers: WORKERS,
      forkOpts: { serialization: 'advanced' },
    });
    return (name, value) => pool.exec(name, [value]);
  },
  tinypool: async () => {
    const { Tinypool } = await import('tinypool');
    const pool = new Tinypool({
      filename: file('worker.cjs'),
      runtime: 'child_process',
      minThreads: WORKERS,
      maxThreads: WORKERS,
      serialization: 'advanced',
    });
    return (name, value) => pool.run(value, { name });
  },
  piscina: async () => {
    const { Piscina } = require('piscina');
    const pool = new Piscina({
      filename: file('worker.cjs'),
      minThreads: WORKERS,
      maxThreads: WORKERS,
      maxQueue: Infinity,
    });
    return (name, value) => pool.run(value, { name });
  },
};

const seconds = (start) => Number(process.hrtime.bigint() - start) / 1e9;

const requests = (run) => ({
  round_trip: async (count) => {
    const times = [];
    for (let n = 0; n < count; n++) {
      const start = process.hrtime.bigint();
      await run('noop', n);
      times.push(seconds(start));
    }
    return times;
  },
  tasks: async (count) => {
    const start = process.hrtime.bigint();
    const promises = [];
    for (let n = 0; n < count; n++) promises.push(run('noop', n));
    const results = await Promise.all(promises);
    const took = seconds(start);
    if (!results.every((result, n) => result === n)) throw new Error('a wrong result');
    return [took / count];
  },
  payload: async (size) => {
    const payload = Buffer.alloc(size, 0xa5);
    const start = process.hrtime.bigint();
    const result = await run('echo', payload);
    const took = seconds(start);
    if (result.byteLength !== size) throw new Error('a wrong result');
    return [took];
  },
});

const name = process.argv[2];
const answer = requests(await pools[name]());
await answer.tasks(10);
console.log(`ready ${name} ${require(`${file('node_modules')}/${name}/package.json`).version}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [request, count] = line.split(' ');
  console.log((await answer[request](Number(count))).join(' '));
}
process.exit(0);
