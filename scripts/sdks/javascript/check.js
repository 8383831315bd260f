// Runs the official JavaScript SDK, unchanged, against local Momento.
//
// Prints `ok ...` or `FAILED ...` for each check, and exits with 1 if a check failed. Every wait is for an event.
// MOMENTO_PORT and MOMENTO_ADMIN_PORT hold the ports.
'use strict';

const assert = require('node:assert/strict');
const {randomUUID} = require('node:crypto');
const {
  AuthClient,
  AuthClientConfigurations,
  CacheClient,
  CacheDelete,
  CacheDictionaryIncrement,
  CacheDictionarySetField,
  CacheGet,
  CacheGetWithHash,
  CacheIncrement,
  CacheItemGetTtl,
  CacheListConcatenateBack,
  CacheListFetch,
  CacheListPushBack,
  CacheSet,
  CacheSetAddElements,
  CacheSetFetch,
  CacheSetIfAbsent,
  CacheSetIfEqual,
  CacheSetIfPresentAndHashEqual,
  CacheSetRemoveElements,
  CacheSetWithHash,
  CacheSortedSetFetch,
  CacheSortedSetPutElements,
  CacheUpdateTtl,
  CollectionTtl,
  Configurations,
  CreateCache,
  CredentialProvider,
  DefaultMomentoLoggerFactory,
  DefaultMomentoLoggerLevel,
  DeleteCache,
  ExpiresIn,
  GenerateDisposableToken,
  ListCaches,
  MomentoErrorCode,
  PermissionScopes,
  TopicClient,
  TopicConfigurations,
  TopicPublish,
  TopicSubscribe,
} = require('@gomomento/sdk');
// The SDK's own retry suite requests faults with these.
const {
  ExperimentalMomentoLocalTestConfigMiddleware,
} = require('@gomomento/sdk/dist/src/config/middleware/experimental-momento-local-test-config-middleware');
const {MomentoRPCMethod} = require('@gomomento/sdk/dist/src/config/retry/momento-rpc-method');

const TIMEOUT_MS = 15_000;
const port = Number(process.env.MOMENTO_PORT);
const admin = `http://127.0.0.1:${process.env.MOMENTO_ADMIN_PORT}`;
const credentialProvider = CredentialProvider.forMomentoLocal({hostname: '127.0.0.1', port});
// These checks break connections and provoke errors, which the SDK would log as warnings.
const logs = new DefaultMomentoLoggerFactory(DefaultMomentoLoggerLevel.FATAL ?? DefaultMomentoLoggerLevel.ERROR);

const checks = [];
const check = (name, run) => checks.push({name, run});

/** Keeps the events of a subscription, in order, until a check takes them. */
class Events {
  #kept = [];
  #waiting = [];

  put(kind, event) {
    this.#kept.push({kind, event});
    this.#waiting = this.#waiting.filter(find => !find());
  }

  /** Waits for the next event of this kind, and keeps events of other kinds. */
  take(kind) {
    return new Promise((resolve, reject) => {
      const timeout = setTimeout(() => reject(new Error(`the event "${kind}" did not arrive`)), TIMEOUT_MS);
      const find = () => {
        const index = this.#kept.findIndex(kept => kept.kind === kind);
        if (index < 0) return false;
        clearTimeout(timeout);
        resolve(this.#kept.splice(index, 1)[0].event);
        return true;
      };
      if (!find()) this.#waiting.push(find);
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

const cacheClient = (configure = configuration => configuration) =>
  CacheClient.create({
    configuration: configure(Configurations.Laptop.latest(logs)),
    credentialProvider,
    defaultTtlSeconds: 60,
  });

const withFaults = faults => configuration =>
  configuration.withMiddlewares([
    new ExperimentalMomentoLocalTestConfigMiddleware({requestId: randomUUID(), ...faults}),
  ]);

/** Sends a request to the admin port, and returns the JSON of the response. */
async function request(method, path, body) {
  const response = await fetch(`${admin}${path}`, {method, body: body && JSON.stringify(body)});
  const json = await response.json();
  assert.ok(response.ok, `${method} ${path}: ${JSON.stringify(json)}`);
  return json;
}

/** Asserts that a response is of this class, and returns it. */
function is(kind, response) {
  assert.ok(response instanceof kind, response.toString());
  return response;
}

const published = response => is(TopicPublish.Success, response);

function failed(response, kind, code) {
  assert.ok(response instanceof kind, response.toString());
  assert.equal(response.errorCode(), code);
}

/** Subscribes until the end of the check, and returns the events. */
async function subscribe(context, topics, cache, topic) {
  const events = new Events();
  const subscription = await topics.subscribe(cache, topic, events.callbacks());
  assert.ok(subscription instanceof TopicSubscribe.Subscription, subscription.toString());
  context.cleanUp.push(() => subscription.unsubscribe());
  return events;
}

check('creates, lists and deletes caches', async ({caches}) => {
  const name = randomUUID();
  assert.ok((await caches.createCache(name)) instanceof CreateCache.Success);
  assert.ok((await caches.createCache(name)) instanceof CreateCache.AlreadyExists);
  const listed = await caches.listCaches();
  assert.ok(listed instanceof ListCaches.Success);
  assert.ok(listed.getCaches().some(cache => cache.getName() === name));
  assert.ok((await caches.deleteCache(name)) instanceof DeleteCache.Success);
  failed(await caches.deleteCache(name), DeleteCache.Error, MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
});

check('subscriber receives text and bytes numbered from one', async context => {
  const {topics, cache} = context;
  const events = await subscribe(context, topics, cache, 'text and bytes');
  await events.take('heartbeat');
  published(await topics.publish(cache, 'text and bytes', 'hello'));
  published(await topics.publish(cache, 'text and bytes', Uint8Array.of(0, 255)));
  const [text, bytes] = [await events.take('item'), await events.take('item')];
  assert.equal(text.valueString(), 'hello');
  assert.deepEqual([...bytes.valueUint8Array()], [0, 255]);
  assert.deepEqual([text.sequenceNumber(), bytes.sequenceNumber()], [1, 2]);
});

check('one connection carries a hundred subscriptions', async context => {
  const topics = topicClient(configuration => configuration.withNumStreamConnections(1));
  const subscribing = Array.from({length: 100}, () => subscribe(context, topics, context.cache, 'many'));
  const subscribers = await Promise.all(subscribing);
  assert.equal((await request('GET', `/subscribers?cache=${context.cache}&topic=many`)).subscribers, 100);
  published(await context.topics.publish(context.cache, 'many', 'to all'));
  for (const events of subscribers) {
    assert.equal((await events.take('item')).valueString(), 'to all');
  }
});

check('cut subscription resumes and receives missed messages', async context => {
  const {topics, cache} = context;
  const events = await subscribe(context, topics, cache, 'cut');
  published(await topics.publish(cache, 'cut', 'one'));
  assert.equal((await events.take('item')).valueString(), 'one');

  await request('POST', '/faults', {kind: 'error', code: 'unavailable', rpc: 'topic-subscribe', topic: 'cut'});
  await request('POST', '/cut');
  await events.take('connection lost');
  const publisher = topicClient();
  published(await publisher.publish(cache, 'cut', 'two'));
  published(await publisher.publish(cache, 'cut', 'three'));
  await request('DELETE', '/faults');
  const [two, three] = [await events.take('item'), await events.take('item')];
  assert.deepEqual([two.valueString(), two.sequenceNumber()], ['two', 2]);
  assert.deepEqual([three.valueString(), three.sequenceNumber()], ['three', 3]);
});

check('reset topic sends discontinuity', async context => {
  const {topics, cache} = context;
  const events = await subscribe(context, topics, cache, 'reset');
  published(await topics.publish(cache, 'reset', 'before'));
  await events.take('item');
  await request('POST', '/reset', {cache, topic: 'reset'});
  const discontinuity = await events.take('discontinuity');
  assert.deepEqual([discontinuity.lastSequenceNumber(), discontinuity.newSequenceNumber()], [1, 0]);
  published(await topics.publish(cache, 'reset', 'after'));
  assert.equal((await events.take('item')).sequenceNumber(), 1);
});

check('blocked port ends subscription until it is unblocked', async context => {
  const {topics, cache} = context;
  const events = await subscribe(context, topics, cache, 'block');
  await events.take('heartbeat');
  await request('GET', '/block');
  await events.take('connection lost');
  await request('GET', '/unblock');
  await events.take('heartbeat');
});

check('deleted cache ends subscriptions', async context => {
  const cache = randomUUID();
  assert.ok((await context.caches.createCache(cache)) instanceof CreateCache.Success);
  const events = await subscribe(context, context.topics, cache, 'gone');
  assert.ok((await context.caches.deleteCache(cache)) instanceof DeleteCache.Success);
  assert.equal((await events.take('error')).errorCode(), MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
});

check('missing cache is not found', async ({topics}) => {
  failed(await topics.publish('nowhere', 't', 'x'), TopicPublish.Error, MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
  const error = await topics.subscribe('nowhere', 't', {});
  failed(error, TopicSubscribe.Error, MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
});

check('invalid name is an invalid argument', async ({caches, topics, cache}) => {
  // The SDK accepts this name, and the server rejects it.
  const name = 'x'.repeat(600);
  failed(await caches.createCache(name), CreateCache.Error, MomentoErrorCode.INVALID_ARGUMENT_ERROR);
  failed(await topics.publish(cache, name, 'x'), TopicPublish.Error, MomentoErrorCode.INVALID_ARGUMENT_ERROR);
});

check('large message exceeds limit', async ({topics, cache}) => {
  published(await topics.publish(cache, 'large', 'x'.repeat(4_096)));
  const error = await topics.publish(cache, 'large', 'x'.repeat(4_097));
  failed(error, TopicPublish.Error, MomentoErrorCode.LIMIT_EXCEEDED_ERROR);
  assert.match(error.message(), /Request size limit exceeded/);
});

check('injected permission error reaches SDK', async ({topics, cache}) => {
  const fault = {kind: 'error', code: 'permission-denied', rpc: 'topic-publish', topic: 'secret', times: 1};
  const {id} = await request('POST', '/faults', fault);
  failed(await topics.publish(cache, 'secret', 'x'), TopicPublish.Error, MomentoErrorCode.PERMISSION_ERROR);
  published(await topics.publish(cache, 'secret', 'x'));
  const {faults} = await request('GET', '/faults');
  assert.equal(faults.find(listed => listed.id === id).hits, 1);
});

check('metadata requests limited number of errors', async context => {
  const faults = {
    returnError: MomentoErrorCode.SERVER_UNAVAILABLE,
    errorRpcs: [MomentoRPCMethod.TopicPublish],
    errorCount: 2,
  };
  const topics = topicClient(withFaults(faults));
  for (let attempt = 0; attempt < 2; attempt++) {
    const error = await topics.publish(context.cache, 'requested', 'x');
    failed(error, TopicPublish.Error, MomentoErrorCode.SERVER_UNAVAILABLE);
  }
  published(await topics.publish(context.cache, 'requested', 'x'));
});

check('metadata requests delay beyond deadline', async context => {
  const faults = {delayRpcs: [MomentoRPCMethod.TopicPublish], delayMs: 60_000, delayCount: 1};
  const topics = topicClient(configuration => withFaults(faults)(configuration).withClientTimeoutMillis(500));
  const late = await topics.publish(context.cache, 'late', 'x');
  failed(late, TopicPublish.Error, MomentoErrorCode.TIMEOUT_ERROR);
  published(await topics.publish(context.cache, 'late', 'x'));
});

check('metadata requests stream error', async context => {
  const faults = {
    streamError: MomentoErrorCode.CACHE_NOT_FOUND_ERROR,
    streamErrorRpcs: [MomentoRPCMethod.TopicSubscribe],
    streamErrorMessageLimit: 3,
  };
  const topics = topicClient(withFaults(faults));
  const events = await subscribe(context, topics, context.cache, 'stream error');
  for (let heartbeat = 0; heartbeat < 3; heartbeat++) {
    await events.take('heartbeat');
  }
  assert.equal((await events.take('error')).errorCode(), MomentoErrorCode.CACHE_NOT_FOUND_ERROR);
});

check('fresh subscription begins with latest message', async context => {
  const {topics, cache} = context;
  published(await topics.publish(cache, 'latest', 'one'));
  published(await topics.publish(cache, 'latest', 'two'));
  const events = await subscribe(context, topics, cache, 'latest');
  assert.equal((await events.take('item')).valueString(), 'two');
});

check('gets, sets and deletes scalar with its time to live', async ({caches, cache}) => {
  is(CacheGet.Miss, await caches.get(cache, 'scalar'));
  is(CacheSet.Success, await caches.set(cache, 'scalar', 'value', {ttl: 100}));
  assert.equal(is(CacheGet.Hit, await caches.get(cache, 'scalar')).valueString(), 'value');
  const ttl = is(CacheItemGetTtl.Hit, await caches.itemGetTtl(cache, 'scalar')).remainingTtlMillis();
  assert.ok(ttl > 50_000 && ttl <= 100_000, `${ttl}`);
  is(CacheUpdateTtl.Set, await caches.updateTtl(cache, 'scalar', 900_000));
  assert.ok((await caches.itemGetTtl(cache, 'scalar')).remainingTtlMillis() > 500_000);
  is(CacheDelete.Success, await caches.delete(cache, 'scalar'));
  is(CacheGet.Miss, await caches.get(cache, 'scalar'));
  is(CacheUpdateTtl.Miss, await caches.updateTtl(cache, 'scalar', 1_000));
});

check('sets scalar under conditions', async ({caches, cache}) => {
  is(CacheSetIfAbsent.Stored, await caches.setIfAbsent(cache, 'condition', 'one'));
  is(CacheSetIfAbsent.NotStored, await caches.setIfAbsent(cache, 'condition', 'two'));
  is(CacheSetIfEqual.NotStored, await caches.setIfEqual(cache, 'condition', 'two', 'other'));
  is(CacheSetIfEqual.Stored, await caches.setIfEqual(cache, 'condition', 'two', 'one'));
  const stored = is(CacheSetWithHash.Stored, await caches.setWithHash(cache, 'condition', 'three'));
  const found = is(CacheGetWithHash.Hit, await caches.getWithHash(cache, 'condition'));
  assert.deepEqual(found.hashUint8Array(), stored.hashUint8Array());
  const set = hash => caches.setIfPresentAndHashEqual(cache, 'condition', 'four', hash);
  is(CacheSetIfPresentAndHashEqual.Stored, await set(stored.hashUint8Array()));
  is(CacheSetIfPresentAndHashEqual.NotStored, await set(stored.hashUint8Array()));
  assert.equal((await caches.get(cache, 'condition')).valueString(), 'four');
});

check('increments number and rejects text', async ({caches, cache}) => {
  assert.equal(is(CacheIncrement.Success, await caches.increment(cache, 'counter', 41)).valueNumber(), 41);
  assert.equal(is(CacheIncrement.Success, await caches.increment(cache, 'counter', -1_042)).valueNumber(), -1_001);
  assert.equal((await caches.get(cache, 'counter')).valueString(), '-1001');
  is(CacheSet.Success, await caches.set(cache, 'counter', 'abcxyz'));
  const error = await caches.increment(cache, 'counter', 1);
  failed(error, CacheIncrement.Error, MomentoErrorCode.FAILED_PRECONDITION_ERROR);
});

check('adds, removes and fetches elements of set', async ({caches, cache}) => {
  is(CacheSetFetch.Miss, await caches.setFetch(cache, 'set'));
  const ttl = new CollectionTtl(100, true);
  is(CacheSetAddElements.Success, await caches.setAddElements(cache, 'set', ['b', 'a'], {ttl}));
  is(CacheSetAddElements.Success, await caches.setAddElements(cache, 'set', ['a', 'c']));
  const elements = async () => [...is(CacheSetFetch.Hit, await caches.setFetch(cache, 'set')).valueSetString()].sort();
  assert.deepEqual(await elements(), ['a', 'b', 'c']);
  is(CacheSetRemoveElements.Success, await caches.setRemoveElements(cache, 'set', ['a', 'b']));
  assert.deepEqual(await elements(), ['c']);
  is(CacheSetRemoveElements.Success, await caches.setRemoveElements(cache, 'set', ['c']));
  is(CacheSetFetch.Miss, await caches.setFetch(cache, 'set'));
});

check('adds to lists, dictionaries and sorted sets', async ({caches, cache}) => {
  is(CacheListConcatenateBack.Success, await caches.listConcatenateBack(cache, 'list', ['a', 'b', 'c']));
  const options = {truncateFrontToSize: 2};
  assert.equal(is(CacheListPushBack.Success, await caches.listPushBack(cache, 'list', 'd', options)).listLength(), 2);
  assert.deepEqual(is(CacheListFetch.Hit, await caches.listFetch(cache, 'list')).valueList(), ['c', 'd']);
  is(CacheDictionarySetField.Success, await caches.dictionarySetField(cache, 'dictionary', 'mo', '41'));
  const incremented = await caches.dictionaryIncrement(cache, 'dictionary', 'mo', 1);
  assert.equal(is(CacheDictionaryIncrement.Success, incremented).value(), 42);
  const scores = new Map([['b', 2], ['a', 1]]);
  is(CacheSortedSetPutElements.Success, await caches.sortedSetPutElements(cache, 'scores', scores));
  const fetched = is(CacheSortedSetFetch.Hit, await caches.sortedSetFetchByRank(cache, 'scores'));
  assert.deepEqual(fetched.valueArray(), [{value: 'a', score: 1}, {value: 'b', score: 2}]);
});

check('token allows only its topic and carries its id', async context => {
  const {caches, cache} = context;
  const auth = new AuthClient({credentialProvider, configuration: AuthClientConfigurations.Default.latest(logs)});
  const scope = PermissionScopes.topicPublishSubscribe(cache, 'room');
  const issued = await auth.generateDisposableToken(scope, ExpiresIn.minutes(5), {tokenId: 'mo'});
  const {authToken} = is(GenerateDisposableToken.Success, issued);
  const endpoint = `127.0.0.1:${port}`;
  const withToken = CredentialProvider.fromString({
    authToken,
    endpointOverrides: {
      cacheEndpoint: endpoint,
      controlEndpoint: endpoint,
      tokenEndpoint: endpoint,
      secureConnection: false,
    },
  });
  const topics = new TopicClient({
    configuration: TopicConfigurations.Default.latest(logs),
    credentialProvider: withToken,
  });
  const events = await subscribe(context, topics, cache, 'room');
  await events.take('heartbeat');
  published(await topics.publish(cache, 'room', 'hello'));
  assert.equal((await events.take('item')).tokenId(), 'mo');
  const denied = MomentoErrorCode.PERMISSION_ERROR;
  failed(await topics.publish(cache, 'other', 'hello'), TopicPublish.Error, denied);
  failed(await topics.subscribe(cache, 'other', events.callbacks()), TopicSubscribe.Error, denied);
  const tokenCaches = await CacheClient.create({
    configuration: Configurations.Laptop.latest(logs),
    credentialProvider: withToken,
    defaultTtlSeconds: 60,
  });
  failed(await tokenCaches.get(cache, 'key'), CacheGet.Error, denied);
  tokenCaches.close();
  is(CacheGet.Miss, await caches.get(cache, 'key'));
});

check('large item exceeds limit', async ({caches, cache}) => {
  const error = await caches.set(cache, 'large', 'x'.repeat(1_048_577));
  failed(error, CacheSet.Error, MomentoErrorCode.LIMIT_EXCEEDED_ERROR);
  assert.match(error.message(), /Item size limit exceeded/);
});

check('metadata requests errors of cache calls', async ({cache}) => {
  const faults = {
    returnError: MomentoErrorCode.PERMISSION_ERROR,
    errorRpcs: [MomentoRPCMethod.SetIf, MomentoRPCMethod.Get],
    errorCount: 1,
  };
  const caches = await cacheClient(withFaults(faults));
  const error = await caches.get(cache, 'requested');
  failed(error, CacheGet.Error, MomentoErrorCode.PERMISSION_ERROR);
  is(CacheGet.Miss, await caches.get(cache, 'requested'));
  caches.close();
});

async function main() {
  const caches = await cacheClient();
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
      await request('DELETE', '/faults');
      await request('GET', '/unblock');
    }
  }
  caches.close();
  process.exit(failures === 0 ? 0 : 1);
}

main().catch(error => {
  console.log(`FAILED javascript: ${error.stack}`);
  process.exit(1);
});
