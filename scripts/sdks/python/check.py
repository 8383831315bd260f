"""Runs the official Python SDK, unchanged, against local Momento.

Prints `ok ...` or `FAILED ...` for each check, and exits with 1 if a check failed. Every wait is for an event.
MOMENTO_PORT and MOMENTO_ADMIN_PORT hold the ports.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import os
import sys
import traceback
import urllib.request
import uuid
from datetime import timedelta
from typing import Any, Awaitable, Callable

from momento import AuthClientAsync, CacheClientAsync, Configurations, CredentialProvider, TopicClient
from momento import TopicClientAsync, TopicConfigurations
from momento.auth.access_control.disposable_token_scopes import DisposableTokenScopes
from momento.config.auth_configurations import AuthConfigurations
from momento.errors import MomentoErrorCode
from momento.requests import CollectionTtl
from momento.responses import (
    CacheDelete,
    CacheDictionaryIncrement,
    CacheDictionarySetField,
    CacheGet,
    CacheIncrement,
    CacheListConcatenateBack,
    CacheListFetch,
    CacheListPushBack,
    CacheSet,
    CacheSetAddElements,
    CacheSetFetch,
    CacheSetIfNotExists,
    CacheSetRemoveElements,
    CacheSortedSetFetch,
    CacheSortedSetPutElements,
    CreateCache,
    DeleteCache,
    GenerateDisposableToken,
    ListCaches,
    TopicPublish,
    TopicSubscribe,
    TopicSubscriptionItem,
)
from momento.utilities import ExpiresIn

TIMEOUT_SECONDS = 15
ADMIN = f"http://127.0.0.1:{os.environ['MOMENTO_ADMIN_PORT']}"
CREDENTIALS = CredentialProvider.for_momento_local("127.0.0.1", int(os.environ["MOMENTO_PORT"]))
# The SDK's deadline applies to a whole subscription. It must not end one while a check waits for an item.
TOPICS = TopicConfigurations.Default.latest().with_client_timeout(timedelta(seconds=60))

Check = Callable[["Context"], Awaitable[None]]
CHECKS: list[Check] = []


def check(run: Check) -> Check:
    CHECKS.append(run)
    return run


class Context:
    """The clients and the cache of a check."""

    def __init__(self, caches: CacheClientAsync, topics: TopicClientAsync, cache: str) -> None:
        self.caches = caches
        self.topics = topics
        self.cache = cache

    async def publish(self, topic: str, value: str | bytes) -> None:
        response = await self.topics.publish(self.cache, topic, value)
        assert isinstance(response, TopicPublish.Success), response

    async def subscribe(self, topic: str, number: int = 0, page: int = 0) -> Any:
        subscription = await self.topics.subscribe(self.cache, topic, number, page)
        assert isinstance(subscription, TopicSubscribe.SubscriptionAsync), subscription
        return subscription


async def item(subscription: Any) -> Any:
    response = await asyncio.wait_for(subscription.__anext__(), TIMEOUT_SECONDS)
    assert not isinstance(response, TopicSubscriptionItem.Error), response
    return response


def request(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Sends a request to the admin port, and returns the JSON of the response."""
    data = None if body is None else json.dumps(body).encode()
    message = urllib.request.Request(ADMIN + path, data=data, method=method)
    with urllib.request.urlopen(message, timeout=TIMEOUT_SECONDS) as response:
        return json.load(response)


def failed(response: Any, kind: type, code: MomentoErrorCode) -> None:
    assert isinstance(response, kind), response
    assert response.error_code == code, response


@check
async def creates_lists_and_deletes_caches(context: Context) -> None:
    name = str(uuid.uuid4())
    assert isinstance(await context.caches.create_cache(name), CreateCache.Success)
    assert isinstance(await context.caches.create_cache(name), CreateCache.CacheAlreadyExists)
    listed = await context.caches.list_caches()
    assert isinstance(listed, ListCaches.Success)
    assert name in [cache.name for cache in listed.caches]
    assert isinstance(await context.caches.delete_cache(name), DeleteCache.Success)
    missing = await context.caches.delete_cache(name)
    failed(missing, DeleteCache.Error, MomentoErrorCode.NOT_FOUND_ERROR)


@check
async def subscriber_receives_text_and_bytes_numbered_from_one(context: Context) -> None:
    subscription = await context.subscribe("text and bytes")
    await context.publish("text and bytes", "hello")
    await context.publish("text and bytes", bytes([0, 255]))
    text, binary = await item(subscription), await item(subscription)
    assert isinstance(text, TopicSubscriptionItem.Text) and text.value == "hello", text
    assert isinstance(binary, TopicSubscriptionItem.Binary) and binary.value == bytes([0, 255]), binary
    assert (text.sequence_number, binary.sequence_number) == (1, 2)
    subscription.unsubscribe()


@check
async def synchronous_client_publishes_and_subscribes(context: Context) -> None:
    def publish_and_receive() -> str:
        with TopicClient(TOPICS, CREDENTIALS) as topics:
            subscription = topics.subscribe(context.cache, "synchronous")
            assert isinstance(subscription, TopicSubscribe.Subscription), subscription
            response = topics.publish(context.cache, "synchronous", "hello")
            assert isinstance(response, TopicPublish.Success), response
            received = next(subscription)
            subscription.unsubscribe()
            return received.value

    received = asyncio.get_running_loop().run_in_executor(None, publish_and_receive)
    assert await asyncio.wait_for(received, TIMEOUT_SECONDS) == "hello"


@check
async def resumed_subscription_receives_messages_missed_during_cut(context: Context) -> None:
    subscription = await context.subscribe("cut")
    await context.publish("cut", "one")
    one = await item(subscription)
    request("POST", "/cut")
    # The caller of this SDK subscribes again, and names the sequence number.
    async with TopicClientAsync(TOPICS, CREDENTIALS) as topics:
        reconnected = Context(context.caches, topics, context.cache)
        # Clients share connections, so the first calls can still use the one that was cut.
        response = await topics.publish(context.cache, "cut", "two")
        while (
            isinstance(response, TopicPublish.Error)
            and response.error_code == MomentoErrorCode.SERVER_UNAVAILABLE
        ):
            response = await topics.publish(context.cache, "cut", "two")
        assert isinstance(response, TopicPublish.Success), response
        resumed = await reconnected.subscribe("cut", one.sequence_number + 1, one.sequence_page)
        two = await item(resumed)
        assert (two.value, two.sequence_number, two.sequence_page) == ("two", 2, one.sequence_page)
        resumed.unsubscribe()


@check
async def resumed_subscription_on_reset_topic_begins_at_first_message(context: Context) -> None:
    subscription = await context.subscribe("reset")
    await context.publish("reset", "before")
    before = await item(subscription)
    subscription.unsubscribe()
    request("POST", "/reset", {"cache": context.cache, "topic": "reset"})
    await context.publish("reset", "after")
    resumed = await context.subscribe("reset", before.sequence_number + 1, before.sequence_page)
    after = await item(resumed)
    assert (after.value, after.sequence_number) == ("after", 1)
    assert after.sequence_page > before.sequence_page
    resumed.unsubscribe()


@check
async def missing_cache_is_not_found(context: Context) -> None:
    error = await context.topics.publish("nowhere", "t", "x")
    failed(error, TopicPublish.Error, MomentoErrorCode.NOT_FOUND_ERROR)
    error = await context.topics.subscribe("nowhere", "t")
    failed(error, TopicSubscribe.Error, MomentoErrorCode.NOT_FOUND_ERROR)


@check
async def invalid_name_is_an_invalid_argument(context: Context) -> None:
    # The SDK accepts this name, and the server rejects it.
    name = "x" * 600
    error = await context.caches.create_cache(name)
    failed(error, CreateCache.Error, MomentoErrorCode.INVALID_ARGUMENT_ERROR)
    error = await context.topics.publish(context.cache, name, "x")
    failed(error, TopicPublish.Error, MomentoErrorCode.INVALID_ARGUMENT_ERROR)


@check
async def large_message_exceeds_limit(context: Context) -> None:
    await context.publish("large", "x" * 4_096)
    error = await context.topics.publish(context.cache, "large", "x" * 4_097)
    failed(error, TopicPublish.Error, MomentoErrorCode.LIMIT_EXCEEDED_ERROR)
    assert "Request size limit exceeded" in error.message, error.message


@check
async def injected_permission_error_reaches_sdk(context: Context) -> None:
    fault = {"kind": "error", "code": "permission-denied", "rpc": "topic-publish", "topic": "secret", "times": 1}
    fault_id = request("POST", "/faults", fault)["id"]
    error = await context.topics.publish(context.cache, "secret", "x")
    failed(error, TopicPublish.Error, MomentoErrorCode.PERMISSION_ERROR)
    await context.publish("secret", "x")
    hits = [listed["hits"] for listed in request("GET", "/faults")["faults"] if listed["id"] == fault_id]
    assert hits == [1], hits


@check
async def hanging_call_ends_at_its_deadline(context: Context) -> None:
    request("POST", "/faults", {"kind": "hang", "rpc": "topic-publish", "topic": "late", "when": "after-apply"})
    async with TopicClientAsync(TOPICS.with_client_timeout(timedelta(seconds=1)), CREDENTIALS) as topics:
        late = await topics.publish(context.cache, "late", "x")
        failed(late, TopicPublish.Error, MomentoErrorCode.TIMEOUT_ERROR)
    resumed = await context.subscribe("late", 1)
    assert (await item(resumed)).value == "x", "the topic accepted the message before the call hung"
    resumed.unsubscribe()


@check
async def fresh_subscription_begins_with_latest_message(context: Context) -> None:
    await context.publish("latest", "one")
    await context.publish("latest", "two")
    subscription = await context.subscribe("latest")
    assert (await item(subscription)).value == "two"
    subscription.unsubscribe()


def expect(kind: type, response: Any) -> Any:
    """Asserts that a response is of this class, and returns it."""
    assert isinstance(response, kind), response
    return response


@check
async def gets_sets_and_deletes_scalar(context: Context) -> None:
    caches, cache = context.caches, context.cache
    expect(CacheGet.Miss, await caches.get(cache, "scalar"))
    expect(CacheSet.Success, await caches.set(cache, "scalar", "value", ttl=timedelta(seconds=100)))
    assert expect(CacheGet.Hit, await caches.get(cache, "scalar")).value_string == "value"
    expect(CacheDelete.Success, await caches.delete(cache, "scalar"))
    expect(CacheGet.Miss, await caches.get(cache, "scalar"))


@check
async def sets_scalar_only_if_it_does_not_exist(context: Context) -> None:
    caches, cache = context.caches, context.cache
    expect(CacheSetIfNotExists.Stored, await caches.set_if_not_exists(cache, "condition", "one"))
    expect(CacheSetIfNotExists.NotStored, await caches.set_if_not_exists(cache, "condition", "two"))
    assert expect(CacheGet.Hit, await caches.get(cache, "condition")).value_string == "one"


@check
async def increments_number_and_rejects_text(context: Context) -> None:
    caches, cache = context.caches, context.cache
    assert expect(CacheIncrement.Success, await caches.increment(cache, "counter", 41)).value == 41
    assert expect(CacheIncrement.Success, await caches.increment(cache, "counter", -42)).value == -1
    expect(CacheSet.Success, await caches.set(cache, "counter", "text"))
    error = await caches.increment(cache, "counter", 1)
    failed(error, CacheIncrement.Error, MomentoErrorCode.FAILED_PRECONDITION_ERROR)


@check
async def adds_removes_and_fetches_elements_of_set(context: Context) -> None:
    caches, cache = context.caches, context.cache
    ttl = CollectionTtl(timedelta(seconds=100), refresh_ttl=True)
    expect(CacheSetFetch.Miss, await caches.set_fetch(cache, "set"))
    expect(CacheSetAddElements.Success, await caches.set_add_elements(cache, "set", {"b", "a"}, ttl=ttl))
    expect(CacheSetAddElements.Success, await caches.set_add_elements(cache, "set", {"a", "c"}))
    fetched = expect(CacheSetFetch.Hit, await caches.set_fetch(cache, "set"))
    assert fetched.value_set_string == {"a", "b", "c"}, fetched
    removed = await caches.set_remove_elements(cache, "set", {"a", "b", "c"})
    expect(CacheSetRemoveElements.Success, removed)
    expect(CacheSetFetch.Miss, await caches.set_fetch(cache, "set"))


@check
async def adds_to_lists_dictionaries_and_sorted_sets(context: Context) -> None:
    caches, cache = context.caches, context.cache
    expect(CacheListConcatenateBack.Success, await caches.list_concatenate_back(cache, "list", ["a", "b", "c"]))
    pushed = await caches.list_push_back(cache, "list", "d", truncate_front_to_size=2)
    assert expect(CacheListPushBack.Success, pushed).list_length == 2
    assert expect(CacheListFetch.Hit, await caches.list_fetch(cache, "list")).value_list_string == ["c", "d"]
    set_field = await caches.dictionary_set_field(cache, "dictionary", "mo", "41")
    expect(CacheDictionarySetField.Success, set_field)
    incremented = await caches.dictionary_increment(cache, "dictionary", "mo", 1)
    assert expect(CacheDictionaryIncrement.Success, incremented).value == 42
    put = await caches.sorted_set_put_elements(cache, "scores", {"b": 2.0, "a": 1.0})
    expect(CacheSortedSetPutElements.Success, put)
    fetched = await caches.sorted_set_fetch_by_rank(cache, "scores")
    assert expect(CacheSortedSetFetch.Hit, fetched).value_list_string == [("a", 1.0), ("b", 2.0)]


@check
async def token_allows_only_its_key(context: Context) -> None:
    cache = context.cache
    async with AuthClientAsync(AuthConfigurations.Laptop.latest(), CREDENTIALS) as auth:
        scope = DisposableTokenScopes.cache_key_read_only(cache, "cow")
        issued = await auth.generate_disposable_token(scope, ExpiresIn.minutes(5))
    token = expect(GenerateDisposableToken.Success, issued).auth_token
    credentials = copy.copy(CREDENTIALS)
    credentials.auth_token = json.loads(base64.b64decode(token))["api_key"]
    configuration = Configurations.Laptop.latest()
    async with await CacheClientAsync.create(configuration, credentials, timedelta(seconds=60)) as caches:
        expect(CacheGet.Miss, await caches.get(cache, "cow"))
        failed(await caches.get(cache, "cows"), CacheGet.Error, MomentoErrorCode.PERMISSION_ERROR)
        failed(await caches.set(cache, "cow", "moo"), CacheSet.Error, MomentoErrorCode.PERMISSION_ERROR)


@check
async def large_item_exceeds_limit(context: Context) -> None:
    error = await context.caches.set(context.cache, "large", "x" * 1_048_577)
    failed(error, CacheSet.Error, MomentoErrorCode.LIMIT_EXCEEDED_ERROR)


async def main() -> int:
    cache = str(uuid.uuid4())
    failures = 0
    configuration = Configurations.Laptop.latest()
    async with await CacheClientAsync.create(configuration, CREDENTIALS, timedelta(seconds=60)) as caches:
        assert isinstance(await caches.create_cache(cache), CreateCache.Success)
        for run in CHECKS:
            name = run.__name__.replace("_", " ")
            try:
                async with TopicClientAsync(TOPICS, CREDENTIALS) as topics:
                    await asyncio.wait_for(run(Context(caches, topics, cache)), 4 * TIMEOUT_SECONDS)
                print(f"ok python: {name}", flush=True)
            except Exception:
                failures += 1
                print(f"FAILED python: {name}: {traceback.format_exc()}", flush=True)
            finally:
                request("DELETE", "/faults")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
