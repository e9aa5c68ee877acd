"""Who erases is told first what goes and what stays elsewhere."""

from __future__ import annotations

import pytest

from placet.approval.v1 import approval_pb2
from placet_cli.commands.erase import print_retention, print_values_to_erase
from placet_cli.screen import Screen

ERASED = approval_pb2.Erasure(eraser="op@example.com", reason="she asked for it")


@pytest.mark.parametrize(
    "approval",
    [approval_pb2.Approval(title="Pay 4711"), approval_pb2.Approval(erasure=ERASED)],
    ids=["kept", "erased before"],
)
def test_what_other_services_keep_of_it_is_named_with_how_long(
    approval: approval_pb2.Approval, capsys: pytest.CaptureFixture[str]
) -> None:
    print_values_to_erase(Screen(), approval)
    told = " ".join(capsys.readouterr().err.split())
    for words in (
        "NotificationService keeps recipients, titles and reasons",
        "DecisionService the AI's reasoning",
        "PLACET_NOTIFICATION_KEEP_DAYS and PLACET_DECISION_KEEP_DAYS",
    ):
        assert words in told


def test_a_dry_run_says_when_it_is_checked_whether_it_may_be_erased(
    capsys: pytest.CaptureFixture[str],
) -> None:
    approval = approval_pb2.Approval()
    approval.outcome.decide_time.FromSeconds(1_700_000_000)
    print_retention(Screen(), approval, before_retention=False)
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("Closed at 2023-11-14 22:13:20 UTC.")
    assert "is checked when it is erased" in told
    print_retention(Screen(), approval, before_retention=True)
    assert capsys.readouterr().err == ""
