"""The failure of an activity's call tells Temporal what to do next."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from placet_rpc.errors import AlreadyExists, PlacetError, Unavailable
from placet_temporal.calls import one_call


def failure(error: PlacetError) -> ApplicationError:
    def activity() -> None:
        with one_call("acme"):
            raise error

    with pytest.raises(ApplicationError) as raised:
        ActivityEnvironment().run(activity)
    return raised.value


def test_the_next_attempt_begins_when_the_service_says() -> None:
    refused = failure(Unavailable("paused", reason="MODEL_UNAVAILABLE", retry_after=42.5))
    assert refused.next_retry_delay == timedelta(seconds=42.5)
    assert (refused.type, refused.non_retryable) == ("MODEL_UNAVAILABLE", False)


def test_without_a_word_of_the_service_the_policy_of_retries_holds() -> None:
    assert failure(Unavailable("away")).next_retry_delay is None
    assert failure(AlreadyExists("used", reason="ID_REUSED")).non_retryable
