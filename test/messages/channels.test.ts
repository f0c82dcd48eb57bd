// What every channel promises, asked of both kinds.
import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { Duplex, duplexPair } from 'node:stream';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel } from '#vitrine/messages/channel.js';
import { createLocalChannel } from '#vitrine/messages/local-channel.js';
import { SocketChannel } from '#vitrine/messages/socket-channel.js';

type Text = { readonly text: string };
type End = Channel<Text, Text>;

async function socketPair(): Promise<{ client: Socket; server: Socket; close: () => void }> {
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => listener.once('connection', resolve));
  const client = connect((listener.address() as { port: number }).port, '127.0.0.1');
  const server = await accepted;
  return {
    client,
    server,
    close: () => {
      client.destroy();
      server.destroy();
      listener.close();
    },
  };
}

interface Pair {
  readonly a: End;
  readonly b: End;
  readonly cleanUp: () => void;
}

const KINDS: Record<string, () => Promise<Pair>> = {
  'local channel': async () => {
    const { frontend, scheduler } = createLocalChannel();
    return { a: frontend as unknown as End, b: scheduler as unknown as End, cleanUp: () => {} };
  },
  'socket channel': async () => {
    const { client, server, close } = await socketPair();
    return { a: new SocketChannel(client), b: new SocketChannel(server), cleanUp: close };
  },
};

const settled = () => sleep(30);
const texts = (count: number) => Array.from({ length: count }, (_, i) => ({ text: `message ${i}` }));

for (const [name, create] of Object.entries(KINDS)) {
  describe(name, () => {
    test('messages come in order, both ways, and never inside send', async () => {
      const { a, b, cleanUp } = await create();
      const [atA, atB]: [Text[], Text[]] = [[], []];
      a.onMessage((message) => atA.push(message));
      b.onMessage((message) => {
        atB.push(message);
        b.send({ text: `re: ${message.text}` });
      });
      await settled();
      for (const message of texts(50)) a.send(message);
      assert.equal(atB.length, 0);
      await settled();
      assert.deepEqual(atB, texts(50));
      assert.deepEqual(
        atA,
        texts(50).map(({ text }) => ({ text: `re: ${text}` })),
      );
      cleanUp();
    });

    test('messages wait for a listener, and the close for the messages', async () => {
      const { a, b, cleanUp } = await create();
      for (const message of texts(3)) a.send(message);
      a.close();
      await settled();
      const heard: string[] = [];
      b.onClose(() => heard.push('closed'));
      await settled();
      assert.equal(heard.length, 0);
      b.onMessage(({ text }) => heard.push(text));
      await settled();
      assert.deepEqual(heard, ['message 0', 'message 1', 'message 2', 'closed']);
      cleanUp();
    });

    test('the other side hears of a close once, whoever closes does not', async () => {
      const { a, b, cleanUp } = await create();
      const heard: string[] = [];
      a.onClose(() => heard.push('a'));
      b.onClose(() => heard.push('b'));
      a.close();
      a.close();
      await settled();
      b.close();
      b.send({ text: 'too late' });
      a.send({ text: 'too late' });
      await settled();
      assert.deepEqual(heard, ['b']);
      cleanUp();
    });

    test('a message sent just before the close arrives', async () => {
      const { a, b, cleanUp } = await create();
      const heard: string[] = [];
      b.onMessage(({ text }) => heard.push(text));
      b.onClose(() => heard.push('closed'));
      a.send({ text: 'last words' });
      a.close();
      await settled();
      assert.deepEqual(heard, ['last words', 'closed']);
      cleanUp();
    });
  });
}

test('a socket that is torn down is a close', async () => {
  const { client, server, close } = await socketPair();
  const channel = new SocketChannel<Text, Text>(server);
  let closes = 0;
  channel.onClose(() => {
    closes += 1;
  });
  client.resetAndDestroy();
  await settled();
  channel.send({ text: 'nobody listens' });
  await settled();
  assert.equal(closes, 1);
  close();
});

test('garbage on the stream closes the channel, after what came before it', async () => {
  const [near, far] = duplexPair();
  const channel = new SocketChannel<Text, Text>(near);
  const heard: string[] = [];
  channel.onMessage(({ text }) => heard.push(text));
  channel.onClose(() => heard.push('closed'));
  new SocketChannel<Text, Text>(far).send({ text: 'sound' });
  await settled();
  far.write(Buffer.from([255, 255, 255, 255, 255]));
  await settled();
  assert.deepEqual(heard, ['sound', 'closed']);
  assert.equal(near.destroyed, true);
});

test('what is sent in one turn goes out in one write', async () => {
  const batches: number[] = [];
  const socket = new Duplex({
    read: () => {},
    write: (_chunk, _encoding, done) => {
      batches.push(1);
      done();
    },
    writev: (chunks, done) => {
      batches.push(chunks.length);
      done();
    },
  });
  const channel = new SocketChannel<Text, Text>(socket);
  for (const message of texts(10)) channel.send(message);
  await settled();
  for (const message of texts(3)) channel.send(message);
  await settled();
  assert.deepEqual(batches, [10, 3]);
  channel.close();
});
