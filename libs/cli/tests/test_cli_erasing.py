"""Who erases is told first what goes and what stays elsewhere."""

from __future__ import annotations

import pytest

from placet.approval.v1 import approval_pb2
from placet_cli.commands.erasing import tell_what_goes
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
    tell_what_goes(Screen(), approval)
    told = " ".join(capsys.readouterr().err.split())
    for words in (
        "NotificationService keeps recipients, titles and reasons",
        "DecisionService the AI's reasoning",
        "PLACET_NOTIFICATION_KEEP_DAYS and PLACET_DECISION_KEEP_DAYS",
    ):
        assert words in told
