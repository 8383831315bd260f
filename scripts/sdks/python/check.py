"""The official Python SDK, unchanged, against local Momento.

Prints `ok ...` or `FAILED ...` for every check; exits 1 if any failed. Waits for events, never for time to
pass. Expects the ports in MOMENTO_PORT and MOMENTO_ADMIN_PORT.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
import urllib.request
import uuid
from datetime import timedelta
from typing import Any, Awaitable, Callable

from momento import CacheClientAsync, Configurations, CredentialProvider, TopicClient, TopicClientAsync
from momento import TopicConfigurations
from momento.errors import MomentoErrorCode
from momento.responses import (
    CreateCache,
    DeleteCache,
    ListCaches,
    TopicPublish,
    TopicSubscribe,
    TopicSubscriptionItem,
)

PATIENCE_SECONDS = 15
ADMIN = f"http://127.0.0.1:{os.environ['MOMENTO_ADMIN_PORT']}"
CREDENTIALS = CredentialProvider.for_momento_local("127.0.0.1", int(os.environ["MOMENTO_PORT"]))
# The SDK's deadline holds for a whole subscription: it is not to end one while a check waits for it.
TOPICS = TopicConfigurations.Default.latest().with_client_timeout(timedelta(seconds=60))

Check = Callable[["Context"], Awaitable[None]]
CHECKS: list[Check] = []


def check(run: Check) -> Check:
    CHECKS.append(run)
    return run


class Context:
    """What a check works with."""

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
    response = await asyncio.wait_for(subscription.__anext__(), PATIENCE_SECONDS)
    assert not isinstance(response, TopicSubscriptionItem.Error), response
    return response


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ADMIN + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)


def failed(response: Any, kind: type, code: MomentoErrorCode) -> None:
    assert isinstance(response, kind), response
    assert response.error_code == code, response


@check
async def caches_are_created_listed_and_deleted(context: Context) -> None:
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
async def text_and_bytes_arrive_numbered_from_one(context: Context) -> None:
    subscription = await context.subscribe("text and bytes")
    await context.publish("text and bytes", "hello")
    await context.publish("text and bytes", bytes([0, 255]))
    text, binary = await item(subscription), await item(subscription)
    assert isinstance(text, TopicSubscriptionItem.Text) and text.value == "hello", text
    assert isinstance(binary, TopicSubscriptionItem.Binary) and binary.value == bytes([0, 255]), binary
    assert (text.sequence_number, binary.sequence_number) == (1, 2)
    subscription.unsubscribe()


@check
async def the_synchronous_client_works_as_well(context: Context) -> None:
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
    assert await asyncio.wait_for(received, PATIENCE_SECONDS) == "hello"


@check
async def what_was_published_during_a_cut_is_replayed(context: Context) -> None:
    subscription = await context.subscribe("cut")
    await context.publish("cut", "one")
    one = await item(subscription)
    ask("POST", "/cut")
    # This SDK leaves it to its caller to subscribe again, and to say where.
    async with TopicClientAsync(TOPICS, CREDENTIALS) as topics:
        anew = Context(context.caches, topics, context.cache)
        # Clients share connections: the first calls may still be given the one that was cut.
        response = await topics.publish(context.cache, "cut", "two")
        while (
            isinstance(response, TopicPublish.Error)
            and response.error_code == MomentoErrorCode.SERVER_UNAVAILABLE
        ):
            response = await topics.publish(context.cache, "cut", "two")
        assert isinstance(response, TopicPublish.Success), response
        resumed = await anew.subscribe("cut", one.sequence_number + 1, one.sequence_page)
        two = await item(resumed)
        assert (two.value, two.sequence_number, two.sequence_page) == ("two", 2, one.sequence_page)
        resumed.unsubscribe()


@check
async def resuming_on_a_topic_that_was_reset_begins_at_its_first_message(context: Context) -> None:
    subscription = await context.subscribe("reset")
    await context.publish("reset", "before")
    before = await item(subscription)
    subscription.unsubscribe()
    ask("POST", "/reset", {"cache": context.cache, "topic": "reset"})
    await context.publish("reset", "after")
    resumed = await context.subscribe("reset", before.sequence_number + 1, before.sequence_page)
    after = await item(resumed)
    assert (after.value, after.sequence_number) == ("after", 1)
    assert after.sequence_page > before.sequence_page
    resumed.unsubscribe()


@check
async def a_missing_cache_is_not_found(context: Context) -> None:
    refused = await context.topics.publish("nowhere", "t", "x")
    failed(refused, TopicPublish.Error, MomentoErrorCode.NOT_FOUND_ERROR)
    refused = await context.topics.subscribe("nowhere", "t")
    failed(refused, TopicSubscribe.Error, MomentoErrorCode.NOT_FOUND_ERROR)


@check
async def a_name_that_cannot_be_one_is_an_invalid_argument(context: Context) -> None:
    # The SDK lets it through, the server does not.
    name = "x" * 600
    refused = await context.caches.create_cache(name)
    failed(refused, CreateCache.Error, MomentoErrorCode.INVALID_ARGUMENT_ERROR)
    refused = await context.topics.publish(context.cache, name, "x")
    failed(refused, TopicPublish.Error, MomentoErrorCode.INVALID_ARGUMENT_ERROR)


@check
async def a_message_too_large_is_over_the_limit(context: Context) -> None:
    await context.publish("large", "x" * 4_096)
    refused = await context.topics.publish(context.cache, "large", "x" * 4_097)
    failed(refused, TopicPublish.Error, MomentoErrorCode.LIMIT_EXCEEDED_ERROR)
    assert "Request size limit exceeded" in refused.message, refused.message


@check
async def an_injected_lack_of_permission_is_one_to_the_sdk(context: Context) -> None:
    fault = {"kind": "error", "code": "permission-denied", "rpc": "topic-publish", "topic": "secret", "times": 1}
    fault_id = ask("POST", "/faults", fault)["id"]
    refused = await context.topics.publish(context.cache, "secret", "x")
    failed(refused, TopicPublish.Error, MomentoErrorCode.PERMISSION_ERROR)
    await context.publish("secret", "x")
    hits = [listed["hits"] for listed in ask("GET", "/faults")["faults"] if listed["id"] == fault_id]
    assert hits == [1], hits


@check
async def a_call_held_up_runs_into_its_deadline(context: Context) -> None:
    ask("POST", "/faults", {"kind": "hang", "rpc": "topic-publish", "topic": "late", "when": "after-apply"})
    async with TopicClientAsync(TOPICS.with_client_timeout(timedelta(seconds=1)), CREDENTIALS) as topics:
        late = await topics.publish(context.cache, "late", "x")
        failed(late, TopicPublish.Error, MomentoErrorCode.TIMEOUT_ERROR)
    resumed = await context.subscribe("late", 1)
    assert (await item(resumed)).value == "x", "it was published all the same"
    resumed.unsubscribe()


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
                    await asyncio.wait_for(run(Context(caches, topics, cache)), 4 * PATIENCE_SECONDS)
                print(f"ok python: {name}", flush=True)
            except Exception:
                failures += 1
                print(f"FAILED python: {name}: {traceback.format_exc()}", flush=True)
            finally:
                ask("DELETE", "/faults")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
