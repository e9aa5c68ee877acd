"""The hands on the test stack do not take a passing weakness of a busy machine for a fault."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet_cli.home import Home, Ports
from placet_devstack.supervisor import Supervisor
from placet_rpc.errors import DeadlineExceeded, NotFound, PlacetError, Unavailable
from placet_testing.stack import Stack


@dataclass
class Tired:
    """ApprovalService, which answers only after it has failed in these ways."""

    failures: list[PlacetError]
    request_ids: list[str] = field(default_factory=list)

    async def RequestApproval(
        self, request: approval_service_pb2.RequestApprovalRequest, timeout: float
    ) -> approval_service_pb2.RequestApprovalResponse:
        self.request_ids.append(request.request_id)
        self._fail()
        return approval_service_pb2.RequestApprovalResponse(approval_id="1")

    async def GetApproval(
        self, request: approval_service_pb2.GetApprovalRequest, timeout: float
    ) -> approval_service_pb2.GetApprovalResponse:
        self._fail()
        return approval_service_pb2.GetApprovalResponse(
            approval=approval_pb2.Approval(approval_id=request.approval_id)
        )

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


class StackOf(Stack):
    """A stack of which one service is there."""

    def __init__(self, folder: Path, approval: Tired) -> None:
        # Neither a supervisor nor a channel is needed to call it.
        super().__init__(Home.at(folder), Ports(8600), cast(Supervisor, None), AsyncExitStack())
        self._approval = approval

    async def as_(self, subject: str) -> ApprovalServiceStub:
        return cast(ApprovalServiceStub, self._approval)


def tired() -> Tired:
    return Tired([Unavailable("Temporal does not answer"), DeadlineExceeded("too late")])


async def test_a_request_that_is_not_answered_is_sent_again_as_the_same(tmp_path: Path) -> None:
    approval = tired()
    assert await StackOf(tmp_path, approval).request() == "1"
    assert len(approval.request_ids) == 3
    assert len(set(approval.request_ids)) == 1


async def test_a_read_that_is_not_answered_is_made_again(tmp_path: Path) -> None:
    assert (await StackOf(tmp_path, tired()).get("1")).approval_id == "1"


async def test_an_answer_that_says_no_is_not_asked_for_again(tmp_path: Path) -> None:
    stack = StackOf(tmp_path, Tired([NotFound("there is none")]))
    with pytest.raises(NotFound):
        await stack.get("1")
