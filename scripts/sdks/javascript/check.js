// The official JavaScript SDK, unchanged, against local Momento.
//
// Prints `ok ...` or `FAILED ...` for every check; exits 1 if any failed. Waits for events, never for
// time to pass. Expects the ports in MOMENTO_PORT and MOMENTO_ADMIN_PORT.
'use strict';

const assert = require('node:assert/strict');
const {randomUUID} = require('node:crypto');
const {
  CacheClient,
  Configurations,
  CreateCache,
  CredentialProvider,
  DefaultMomentoLoggerFactory,
  DefaultMomentoLoggerLevel,
  DeleteCache,
  ListCaches,
  MomentoErrorCode,
  TopicClient,
  TopicConfigurations,
  TopicPublish,
  TopicSubscribe,
} = require('@gomomento/sdk');
// What the SDK's own retry suite steers its test server with.
const {
  ExperimentalMomentoLocalTestConfigMiddleware,
} = require('@gomomento/sdk/dist/src/config/middleware/experimental-momento-local-test-config-middleware');
const {MomentoRPCMethod} = require('@gomomento/sdk/dist/src/config/retry/momento-rpc-method');

const PATIENCE_MS = 15_000;
const port = Number(process.env.MOMENTO_PORT);
const admin = `http://127.0.0.1:${process.env.MOMENTO_ADMIN_PORT}`;
const credentialProvider = CredentialProvider.forMomentoLocal({hostname: '127.0.0.1', port});
// The SDK reports at "warn" what is expected here: broken connections, refused calls.
const logs = new DefaultMomentoLoggerFactory(DefaultMomentoLoggerLevel.FATAL ?? DefaultMomentoLoggerLevel.ERROR);

const checks = [];
const check = (name, run) => checks.push({name, run});

/** What a subscription reports, in its order, to be waited for. */
class Mailbox {
  #letters = [];
  #wanted = [];

  put(kind, letter) {
    this.#letters.push({kind, letter});
    this.#wanted = this.#wanted.filter(look => !look());
  }

  /** The next letter of this kind; those of other kinds stay. */
  take(kind) {
    return new Promise((resolve, reject) => {
      const overdue = setTimeout(() => reject(new Error(`no ${kind} came`)), PATIENCE_MS);
      const look = () => {
        const place = this.#letters.findIndex(letter => letter.kind === kind);
        if (place < 0) return false;
        clearTimeout(overdue);
        resolve(this.#letters.splice(place, 1)[0].letter);
        return true;
      };
      if (!look()) this.#wanted.push(look);
    });
  }

  callbacks() {
    return {
      onItem: item => this.put('item', item),
      onError: error => this.put('error', error),
      onHeartbeat: () => this.put('heartbeat'),
      onDiscontinuity: discontinuity => this.put('discontinuity', discontinuity),
      onConnectionLost: () => this.put('connection lost'),
    };
  }
}

const topicClient = (configure = configuration => configuration) =>
  new TopicClient({
    configuration: configure(TopicConfigurations.Default.latest(logs)),
    credentialProvider,
  });

const withFaults = wishes => configuration =>
  configuration.withMiddlewares([
    new ExperimentalMomentoLocalTestConfigMiddleware({requestId: randomUUID(), ...wishes}),
  ]);

async function ask(method, path, body) {
  const response = await fetch(`${admin}${path}`, {method, body: body && JSON.stringify(body)});
  const answer = await response.json();
  assert.ok(response.ok, `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer;
}

function published(response) {
  assert.ok(response instanceof TopicPublish.Success, response.toString());
}

function failed(response, kind, code) {
  assert.ok(response instanceof kind, response.toString());
  assert.equal(response.errorCode(), code);
}

/** A subscription with its mailbox; unsubscribed when the check is over. */
async function subscribe(context, topics, cache, topic) {
  const mailbox = new Mailbox();
  const subscription = await topics.subscribe(cache, topic, mailbox.callbacks());
  assert.ok(subscription instanceof TopicSubscribe.Subscription, subscription.toString());
  context.cleanUp.push(() => subscription.unsubscribe());
  return mailbox;
}

check('caches are created, listed and deleted', async ({caches}) => {
  const name = randomUUID();
  assert.ok((await caches.createCache(name)) instanceof CreateCache.Success);
  assert.ok((await caches.createCache(name)) instanceof CreateCache.AlreadyExists);
  const listed = await caches.listCaches();
  assert.ok(listed instanceof ListCaches.Success);
  assert.ok(listed.getCaches().some(cache => cache.getName() === name));
  assert.ok((await caches.deleteCache(name)) instanceof DeleteCache.Success);
  failed(await caches.deleteCache(name), DeleteCache.Error, MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
});

check('text and bytes arrive, numbered from one', async context => {
  const {topics, cache} = context;
  const mailbox = await subscribe(context, topics, cache, 'text and bytes');
  await mailbox.take('heartbeat');
  published(await topics.publish(cache, 'text and bytes', 'hello'));
  published(await topics.publish(cache, 'text and bytes', Uint8Array.of(0, 255)));
  const [text, bytes] = [await mailbox.take('item'), await mailbox.take('item')];
  assert.equal(text.valueString(), 'hello');
  assert.deepEqual([...bytes.valueUint8Array()], [0, 255]);
  assert.deepEqual([text.sequenceNumber(), bytes.sequenceNumber()], [1, 2]);
});

check('a hundred subscriptions share one connection', async context => {
  const topics = topicClient(configuration => configuration.withNumStreamConnections(1));
  const subscribing = Array.from({length: 100}, () => subscribe(context, topics, context.cache, 'many'));
  const mailboxes = await Promise.all(subscribing);
  assert.equal((await ask('GET', `/subscribers?cache=${context.cache}&topic=many`)).subscribers, 100);
  published(await context.topics.publish(context.cache, 'many', 'to all'));
  for (const mailbox of mailboxes) {
    assert.equal((await mailbox.take('item')).valueString(), 'to all');
  }
});

check('a cut subscription comes back with what was missed', async context => {
  const {topics, cache} = context;
  const mailbox = await subscribe(context, topics, cache, 'cut');
  published(await topics.publish(cache, 'cut', 'one'));
  assert.equal((await mailbox.take('item')).valueString(), 'one');

  await ask('POST', '/faults', {kind: 'error', code: 'unavailable', rpc: 'topic-subscribe', topic: 'cut'});
  await ask('POST', '/cut');
  await mailbox.take('connection lost');
  const publisher = topicClient();
  published(await publisher.publish(cache, 'cut', 'two'));
  published(await publisher.publish(cache, 'cut', 'three'));
  await ask('DELETE', '/faults');
  const [two, three] = [await mailbox.take('item'), await mailbox.take('item')];
  assert.deepEqual([two.valueString(), two.sequenceNumber()], ['two', 2]);
  assert.deepEqual([three.valueString(), three.sequenceNumber()], ['three', 3]);
});

check('a topic that is reset tells its subscribers', async context => {
  const {topics, cache} = context;
  const mailbox = await subscribe(context, topics, cache, 'reset');
  published(await topics.publish(cache, 'reset', 'before'));
  await mailbox.take('item');
  await ask('POST', '/reset', {cache, topic: 'reset'});
  const discontinuity = await mailbox.take('discontinuity');
  assert.deepEqual([discontinuity.lastSequenceNumber(), discontinuity.newSequenceNumber()], [1, 0]);
  published(await topics.publish(cache, 'reset', 'after'));
  assert.equal((await mailbox.take('item')).sequenceNumber(), 1);
});

check('a blocked port silences a subscription until it is unblocked', async context => {
  const {topics, cache} = context;
  const mailbox = await subscribe(context, topics, cache, 'block');
  await mailbox.take('heartbeat');
  await ask('GET', '/block');
  await mailbox.take('connection lost');
  await ask('GET', '/unblock');
  await mailbox.take('heartbeat');
});

check('deleting a cache ends its subscriptions', async context => {
  const cache = randomUUID();
  assert.ok((await context.caches.createCache(cache)) instanceof CreateCache.Success);
  const mailbox = await subscribe(context, context.topics, cache, 'gone');
  assert.ok((await context.caches.deleteCache(cache)) instanceof DeleteCache.Success);
  assert.equal((await mailbox.take('error')).errorCode(), MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
});

check('a missing cache is not found', async ({topics}) => {
  failed(await topics.publish('nowhere', 't', 'x'), TopicPublish.Error, MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
  const refused = await topics.subscribe('nowhere', 't', {});
  failed(refused, TopicSubscribe.Error, MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
});

check('a name that cannot be one is an invalid argument', async ({caches, topics, cache}) => {
  // The SDK lets it through, the server does not.
  const name = 'x'.repeat(600);
  failed(await caches.createCache(name), CreateCache.Error, MomentoErrorCode.INVALID_ARGUMENT_ERROR);
  failed(await topics.publish(cache, name, 'x'), TopicPublish.Error, MomentoErrorCode.INVALID_ARGUMENT_ERROR);
});

check('a message too large is over the limit', async ({topics, cache}) => {
  published(await topics.publish(cache, 'large', 'x'.repeat(4_096)));
  const refused = await topics.publish(cache, 'large', 'x'.repeat(4_097));
  failed(refused, TopicPublish.Error, MomentoErrorCode.LIMIT_EXCEEDED_ERROR);
  assert.match(refused.message(), /Request size limit exceeded/);
});

check('an injected lack of permission is one to the SDK', async ({topics, cache}) => {
  const fault = {kind: 'error', code: 'permission-denied', rpc: 'topic-publish', topic: 'secret', times: 1};
  const {id} = await ask('POST', '/faults', fault);
  failed(await topics.publish(cache, 'secret', 'x'), TopicPublish.Error, MomentoErrorCode.PERMISSION_ERROR);
  published(await topics.publish(cache, 'secret', 'x'));
  const {faults} = await ask('GET', '/faults');
  assert.equal(faults.find(listed => listed.id === id).hits, 1);
});

check('errors asked for in the metadata are counted', async context => {
  const wishes = {
    returnError: MomentoErrorCode.SERVER_UNAVAILABLE,
    errorRpcs: [MomentoRPCMethod.TopicPublish],
    errorCount: 2,
  };
  const topics = topicClient(withFaults(wishes));
  for (let attempt = 0; attempt < 2; attempt++) {
    const refused = await topics.publish(context.cache, 'asked', 'x');
    failed(refused, TopicPublish.Error, MomentoErrorCode.SERVER_UNAVAILABLE);
  }
  published(await topics.publish(context.cache, 'asked', 'x'));
});

check('a delay asked for in the metadata runs into the deadline', async context => {
  const wishes = {delayRpcs: [MomentoRPCMethod.TopicPublish], delayMs: 60_000, delayCount: 1};
  const topics = topicClient(configuration => withFaults(wishes)(configuration).withClientTimeoutMillis(500));
  const late = await topics.publish(context.cache, 'late', 'x');
  failed(late, TopicPublish.Error, MomentoErrorCode.TIMEOUT_ERROR);
  published(await topics.publish(context.cache, 'late', 'x'));
});

check('a stream error asked for in the metadata ends the subscription', async context => {
  const wishes = {
    streamError: MomentoErrorCode.CACHE_NOT_FOUND_ERROR,
    streamErrorRpcs: [MomentoRPCMethod.TopicSubscribe],
    streamErrorMessageLimit: 3,
  };
  const topics = topicClient(withFaults(wishes));
  const mailbox = await subscribe(context, topics, context.cache, 'stream error');
  for (let heartbeat = 0; heartbeat < 3; heartbeat++) {
    await mailbox.take('heartbeat');
  }
  assert.equal((await mailbox.take('error')).errorCode(), MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
});

async function main() {
  const caches = await CacheClient.create({
    configuration: Configurations.Laptop.latest(logs),
    credentialProvider,
    defaultTtlSeconds: 60,
  });
  const cache = randomUUID();
  assert.ok((await caches.createCache(cache)) instanceof CreateCache.Success);
  let failures = 0;
  for (const {name, run} of checks) {
    const topics = topicClient();
    const context = {caches, topics, cache, cleanUp: []};
    try {
      await run(context);
      console.log(`ok javascript: ${name}`);
    } catch (error) {
      failures += 1;
      console.log(`FAILED javascript: ${name}: ${error.stack}`);
    } finally {
      context.cleanUp.forEach(cleanUp => cleanUp());
      await ask('DELETE', '/faults');
      await ask('GET', '/unblock');
    }
  }
  caches.close();
  process.exit(failures === 0 ? 0 : 1);
}

main().catch(error => {
  console.log(`FAILED javascript: ${error.stack}`);
  process.exit(1);
});
